// Digests: what they are in the configuration, the schedules that send them, and the mails that these make.
import type { Config } from '../config.js'
import { type DigestContent, type DigestRules, digestSchedule } from './events.js'
import { mailText } from './mail.js'

/** So that a mail, quotes and times included, fits the payload of its job. */
const SHARE_OF_PAYLOAD = 4
const MOST_BYTES = 262_144
/** Stands in for the text of the mail until there is one. */
const UNWRITTEN = '(the events of the digest)'

export function digestRules({ digests, limits }: Config): DigestRules[] {
  const max_bytes = Math.min(MOST_BYTES, Math.floor(limits.payload / SHARE_OF_PAYLOAD))
  return Object.entries(digests).map(([name, { job_events }]) => ({ name, max_bytes, job_events }))
}

/** By their names, each as in PUT /schedules/:name. */
export function digestSchedules(digests: Config['digests']): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(digests).map(([name, { schedule, recipients, subject }]) => {
      const times = typeof schedule === 'string' ? { cron: schedule } : schedule
      const payload = { to: recipients, subject, body: UNWRITTEN }
      return [digestSchedule(name), { ...Object(times), job: { type: 'email', payload } }]
    }),
  )
}

/** The job of a digest's schedule, with what its mail says. */
export function withText(job: unknown, content: DigestContent): unknown {
  const { payload, ...rest } = Object(job)
  return { ...rest, payload: { ...payload, body: mailText(content) } }
}

/** Where in the configuration of a digest stands what its schedule has at `path`. */
export function digestPath(path: readonly (string | number)[]): (string | number)[] {
  const [first, second, third, ...rest] = path
  if (first !== 'job') return ['schedule', ...path]
  if (second === 'payload' && third === 'to') return ['recipients', ...rest]
  return second === 'payload' && third === 'subject' ? ['subject'] : []
}
