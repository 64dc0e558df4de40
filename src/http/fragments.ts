// Answers in HTML for pages with htmx, of this site and of those that may use the API: a job, or why there is none.
import type { Request, Response } from 'express'
import { PROBLEMS, type ServiceError } from '../errors.js'
import { isFinal, type Job } from '../job.js'
import { jobFragment, problemFragment } from '../ui/fragment.js'
import { sendHtml } from './html.js'

/** Whether htmx asks, which swaps the answer into its page. */
export const wantsHtml = ({ headers }: Request): boolean => headers['hx-request'] === 'true'

/** `accepted`: a job was made, or asked for something, just now. */
export function sendFragment(req: Request, res: Response, status: number, job: Job, accepted = false): void {
  const ended = isFinal(job.status) ? (job.status === 'completed' ? 'jobCompleted' : 'jobFailed') : null
  const trigger = ended ?? (accepted ? 'jobAccepted' : null)
  if (trigger !== null) res.setHeader('HX-Trigger', trigger)
  sendHtml(res, status, jobFragment(job, baseOf(req)))
}

export function sendProblemFragment(res: Response, { code, message, errors }: ServiceError): void {
  const { status, title } = PROBLEMS[code]
  sendHtml(res, status, problemFragment(title, message, errors))
}

/** Where this server is, for a page that is elsewhere: a page that is served by TLS reaches it by TLS. */
function baseOf({ headers: { origin, host = '' } }: Request): string {
  if (origin === undefined || !URL.canParse(origin) || new URL(origin).host === host) return ''
  return `${new URL(origin).protocol === 'https:' ? 'https' : 'http'}://${host}`
}
