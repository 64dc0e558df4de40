// The routes of live events: one job until it is final, or all jobs that fit a filter.
import type { Express, Request, Response } from 'express'
import { ServiceError } from '../errors.js'
import { isFinal, type Job, type JsonText } from '../job.js'
import type { Change, JobFeed } from '../job-feed.js'
import { jobSummary } from '../job-view.js'
import type { Store } from '../store/store.js'
import { readEventQuery } from './job-query.js'
import { readNoQuery } from './query.js'
import { route } from './reply.js'
import type { Streams } from './streams.js'

export interface EventRoutes {
  store: Store
  feed: JobFeed
  streams: Streams
}

/** Jobs that a stream of many begins with. */
const FIRST_JOBS = 50

/** What is watched: which changes, which jobs come first, and whether the stream ends with the job. */
interface Watch {
  fits(job: Job): boolean
  present(): Promise<readonly Job[]>
  until_final: boolean
}

export function eventRoutes(app: Express, { store, feed, streams }: EventRoutes): void {
  route(app, '/events', {
    async get(req, res) {
      const filter = readEventQuery(req.query)
      const fits = ({ type, status }: Job) =>
        (filter.type ?? type) === type && (filter.status?.includes(status) ?? true)
      const present = async () => (await store.list(filter, FIRST_JOBS, null)).jobs.reverse()
      await follow(req, res, { fits, present, until_final: false })
    },
  })

  route(app, '/jobs/:id/events', {
    async get(req, res) {
      readNoQuery(req.query)
      const id = String(req.params.id)
      const job = await store.get(id)
      if (job === null) throw new ServiceError('job_not_found', `there is no job ${id.slice(0, 100)}`)
      const fits = (other: Job) => other.id === id
      if (isFinal(job.status) && missedBy(req)?.every((change) => change.id !== id)) {
        // Who asks again after the end is to stop asking.
        res.statusCode = 204
        res.end()
        return
      }
      const present = async () => [(await store.get(id)) ?? job]
      await follow(req, res, { fits, present, until_final: true })
    },
  })

  /** What the client has missed since its last message; null: that cannot be told. Undefined: it comes for the first time. */
  function missedBy(req: Request): { seq: number; id: string }[] | null | undefined {
    const last = req.headers['last-event-id']
    if (typeof last !== 'string' || last === '') return undefined
    const [epoch, seq = ''] = last.split('.')
    return epoch === feed.epoch && /^\d{1,15}$/.test(seq) ? feed.since(Number(seq)) : null
  }

  async function follow(req: Request, res: Response, { fits, present, until_final }: Watch): Promise<void> {
    const missed = missedBy(req)
    const begun = feed.last()
    /** Changes that came while the beginning was read; null once that was told. */
    let early: Change[] | null = []
    let leave = () => {}
    const stream = streams.open(res, () => leave())

    function tell(seq: number, { status }: Job, data: JsonText): void {
      stream.send({ id: idAt(seq), data })
      if (!until_final || !isFinal(status)) return
      leave()
      stream.send({ id: idAt(seq), event: 'done', data: JSON.stringify({ status }) })
      stream.end()
    }

    async function tellPresent(seq: number): Promise<void> {
      for (const job of await present()) tell(seq, job, JSON.stringify(jobSummary(job)))
    }
    const reset = (seq: number) => stream.send({ id: idAt(seq), event: 'reset', data: '{}' })

    /** Who cannot be told now comes back, and is told then. */
    function tellAnew(): void {
      reset(feed.last())
      tellPresent(feed.last()).catch(() => stream.end())
    }

    leave = feed.subscribe((change) => {
      if (!fits(change.job)) return
      if (early === null) tell(change.seq, change.job, change.text())
      else early.push(change)
    }, tellAnew)
    if (missed === null) reset(begun)
    if (missed == null) await tellPresent(begun)
    for (const { seq, id } of missed ?? []) {
      const job = await store.get(id)
      if (job !== null && fits(job)) tell(seq, job, JSON.stringify(jobSummary(job)))
    }
    for (const { seq, job, text } of early) tell(seq, job, text())
    early = null
  }

  const idAt = (seq: number) => `${feed.epoch}.${seq}`
}
