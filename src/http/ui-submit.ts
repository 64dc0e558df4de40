// The pages that submit jobs: a form for each type, which makes one job however often it is sent.
import { createHash } from 'node:crypto'
import type { Request, Response } from 'express'
import { z } from 'zod'
import { envelope } from '../envelope.js'
import { PROBLEMS, ServiceError } from '../errors.js'
import type { JobType, JobTypes } from '../job-types.js'
import { typeOf } from '../submission.js'
import { submitForm, submitTypes } from '../ui/submit.js'
import { ownerOf } from './auth.js'
import { bodyOf, fieldsOf, type Typed } from './form-fields.js'
import type { FormAnswer, Pages } from './pages.js'
import type { Submit } from './submit.js'
import { payloadSchema } from './workers.js'

export interface SubmitPages {
  types: JobTypes
  submit: Submit
  newId(): string
  now(): number
  idempotency_window: number
  /** @throws ServiceError draining */
  refuseWhileDraining(): void
}

const typedIn = z.record(z.string(), z.unknown())

export function submitPages({ show }: Pages, options: SubmitPages): void {
  const { types, submit, newId, now, idempotency_window, refuseWhileDraining } = options
  const schema = z.toJSONSchema(envelope, { io: 'input', unrepresentable: 'any' })
  const common = fieldsOf(schema, '').filter(({ pointer }) => !/^\/(type|payload)(\/|$)/.test(pointer))
  const payloadOf = (type: JobType) => fieldsOf(payloadSchema(type), '/payload')
  const typeIn = (req: Request) => typeOf(String(req.params.name), types)

  show('/ui/submit', async () => {
    return { title: 'Submit', body: submitTypes([...types.values()]), over: true }
  })

  show('/ui/submit/:name', async (req) => page(typeIn(req), new Map(), null), { action })

  async function action(req: Request, body: unknown, res: Response): Promise<string | FormAnswer> {
    const type = typeIn(req)
    const typed = readTyped(body)
    try {
      refuseWhileDraining()
      return `/ui/jobs/${await submitTyped(type, typed, res)}`
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code === 'internal_error') throw error
      return { ...page(type, typed, error), status: PROBLEMS[error.code].status }
    }
  }

  /** Answers the id of the job. */
  async function submitTyped(type: JobType, typed: Typed, res: Response): Promise<string> {
    const { body, errors } = bodyOf([...payloadOf(type), ...common], typed)
    const [first] = errors
    if (first !== undefined) throw new ServiceError('invalid_job', `${first.pointer}: ${first.detail}`, { errors })
    const at = now()
    const job = { ...body, type: type.name }
    const fingerprint = createHash('sha256').update(JSON.stringify(job)).digest('base64url')
    const key = `form ${onceOf(typed) ?? newId()}`
    const expires_at = at + idempotency_window
    const accepted = await submit(job, [{ kind: 'idempotency', owner: ownerOf(res), key, fingerprint, expires_at }], at)
    return accepted.job.id
  }

  function page(type: JobType, typed: Typed, error: ServiceError | null): FormAnswer & { over: true } {
    const { name, description } = type
    const refusal = error === null ? null : { ...told(error), errors: error.errors ?? [] }
    // One that was sent already, and changed since, is a new form.
    const once = error?.code === 'idempotency_key_reused' ? newId() : (onceOf(typed) ?? newId())
    const fields = { payload: payloadOf(type), options: common }
    const body = submitForm({ type: name, description, ...fields, typed, once, refusal })
    const title = refusal === null ? `Submit ${name}` : `${refusal.title}: submit ${name}`
    return { status: 200, title, body, over: true }
  }
}

/** One that is none of ours is none: forms without one would all be the same. */
function onceOf(typed: Typed): string | null {
  const once = typed.get('once') ?? ''
  return /^[\w-]{16,64}$/.test(once) ? once : null
}

function told({ code, message }: ServiceError): { title: string; detail: string } {
  if (code !== 'idempotency_key_reused') return { title: PROBLEMS[code].title, detail: message }
  return { title: 'This form was sent before', detail: 'what is in it now makes another job if you send it again' }
}

/** Browsers send line breaks as CR LF. */
function readTyped(body: unknown): Typed {
  const form = typedIn.safeParse(body).data ?? {}
  const texts = Object.entries(form).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return new Map(texts.map(([name, text]) => [name, text.replaceAll('\r\n', '\n')]))
}
