// What a submission says of a job beside its payload, and what PATCH may change: the schemas that validate and describe it.
import { z } from 'zod'
import { duration } from './duration.js'

/** Characters, of a unique_key and of an Idempotency-Key. */
export const MAX_KEY_LENGTH = 255
const LONGEST_UNIQUE_MS = 366 * 86_400_000
const LAST_TIME = Date.UTC(9999, 11, 31)
/** In the description; what is checked knows the lengths of months as well. */
export const TIME_SHAPE = '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?(Z|[+-]\\d{2}:\\d{2})$'

const MAX_DEPENDENCIES = 100
const MAX_TAGS = 20

const KEY_HINT = `must be a text of 1 to ${MAX_KEY_LENGTH} characters`
const ID_HINT = 'must be the id of a job'
const TAG_HINT = 'must be a text of up to 255 characters'

/** A time of RFC 3339 with its offset, as milliseconds since 1970. */
export function time() {
  const error = 'must be a time such as "2030-01-31T08:30:00Z"'
  return z.iso
    .datetime({ offset: true, error })
    .transform((text) => Date.parse(text))
    .refine((ms) => ms >= 0 && ms <= LAST_TIME, 'must lie between 1970 and 9999')
    .meta({
      format: 'date-time',
      pattern: TIME_SHAPE,
      description: 'A time of RFC 3339 with its offset, between 1970 and 9999.',
    })
}

const key = () => z.string(KEY_HINT).min(1, KEY_HINT).max(MAX_KEY_LENGTH, KEY_HINT)
const priority = () =>
  z.int('must be a whole number from 1 (high) to 5 (low)').min(1).max(5).meta({ description: '1 (high) to 5 (low).' })

/** An own field of that name is lost in copies: told, not dropped. */
function plain(value: unknown, ctx: z.RefinementCtx): unknown {
  const lost = typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__')
  if (lost) ctx.addIssue({ code: 'custom', message: 'must not have an entry with the name __proto__' })
  return value
}

const tags = z
  .preprocess(plain, tagEntries())
  .refine((tags) => Object.keys(tags).length <= MAX_TAGS, `must have at most ${MAX_TAGS} entries`)
  .meta({ maxProperties: MAX_TAGS, description: 'Names and values by which `GET /jobs?tag=` finds it.' })

function tagEntries() {
  return z.record(
    z.string().regex(/^[\w.-]{1,64}$/, 'must have a name of 1 to 64 letters, digits and ._-'),
    z.string(TAG_HINT).max(255, TAG_HINT),
  )
}

/** Descriptions are those of the API (`GET /openapi.json`). */
export const submissionFields = {
  type: z.string().describe('The job type: its name in `GET /types`.'),
  payload: z.unknown().default({}).describe('What its handler gets; the schema is that of the type.'),
  priority: priority().default(3),
  delay: duration().optional().describe('How long it waits before it may run: seconds, or a text such as "10m".'),
  run_at: time().optional().describe('When it may run, instead of `delay`.'),
  start_by: time().optional().describe('No run begins then or later: it fails with `start_by_passed`.'),
  timeout: duration({ min: 100 })
    .optional()
    .describe('What a run may take, at most as long as the timeout of its type: seconds, or a text such as "90s".'),
  retry_count: z
    .int('must be a whole number from 0 to 100')
    .min(0)
    .max(100)
    .optional()
    .describe('Further attempts after the first that fails.'),
  unique_key: key().optional().describe('While a job of this type with this key is not final, it is the answer.'),
  unique_for: duration({ max: LONGEST_UNIQUE_MS })
    .optional()
    .describe('For so long it is the answer after it ended, too: seconds, or a text such as "1h".'),
  concurrency_key: key().optional().describe('Jobs of one key run one at a time, in order, whatever their types.'),
  depends_on: z
    .array(z.string(ID_HINT).min(1, ID_HINT).max(64, ID_HINT))
    .max(MAX_DEPENDENCIES)
    .refine((ids) => new Set(ids).size === ids.length, 'must not have one twice')
    .meta({ uniqueItems: true })
    .optional()
    .describe('Ids of jobs that have to be final before it runs.'),
  on_dependency_failure: z
    .enum(['fail', 'run'])
    .optional()
    .describe('Whether it fails or runs where one of those fails or is cancelled; left out: it fails.'),
  tags: tags.optional(),
}

/** The last of the three refinements below in the words of JSON Schema; pages that show schemas leave these words out. */
export const DELAY_OR_TIME = { dependentSchemas: { delay: { properties: { run_at: false } } } }
const RELATIONS = {
  ...DELAY_OR_TIME,
  dependentRequired: { unique_for: ['unique_key'], on_dependency_failure: ['depends_on'] },
}

export const envelope = z
  .strictObject(submissionFields)
  .refine(({ unique_key, unique_for }) => unique_for === undefined || unique_key !== undefined, {
    path: ['unique_for'],
    error: 'must be left out where there is no unique_key',
  })
  .refine(({ depends_on, on_dependency_failure }) => on_dependency_failure === undefined || depends_on !== undefined, {
    path: ['on_dependency_failure'],
    error: 'must be left out where there is no depends_on',
  })
  .refine(({ delay, run_at }) => delay === undefined || run_at === undefined, {
    path: ['run_at'],
    error: 'must be left out where there is a delay',
  })
  .meta(RELATIONS)

/** The body of PATCH /jobs/:id. */
export const adjustment = z
  .strictObject({
    priority: priority().optional(),
    run_at: z.union([time(), z.null()]).optional().describe('When it may run; null: at once.'),
  })
  .refine(({ priority, run_at }) => priority !== undefined || run_at !== undefined, 'must have priority or run_at')
  .meta({ minProperties: 1 })
