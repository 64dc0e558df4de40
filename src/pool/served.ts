// The part of a handler's context that the main thread serves: jobmill's own jobs, artifacts of other jobs, submissions.
import { Readable } from 'node:stream'
import type { ArtifactReader, Dependency, JobContext } from '../define-job.js'
import type { JsonText } from '../job.js'
import type { Calls } from './calls.js'
import { changedByJson } from './json-form.js'
import { isLongerThan } from './json-size.js'
import type { Limits, Task } from './protocol.js'

type Served = Pick<JobContext, 'jobs' | 'openArtifact' | 'submit' | 'checkpoint'>

/** What a submission has beside its payload takes no more: MAX_ENVELOPE_BYTES of submission.ts. */
const ENVELOPE_BYTES = 65_536

export function servedContext({ call }: Calls, { payload: max_payload, checkpoint: max_checkpoint }: Limits): Served {
  return {
    jobs: {
      async page(filter, cursor = null) {
        const { jobs, next_cursor } = await call<{ jobs: string; next_cursor: string | null }>('jobs.page', {
          filter,
          cursor,
        })
        return { jobs: JSON.parse(jobs), next_cursor }
      },
      count: (filter) => call('jobs.count', { filter }),
      prune: (filter, cursor = null) => call('jobs.prune', { filter, cursor }),
    },
    async openArtifact(id, name) {
      const found = await call<Omit<ArtifactReader, 'stream'>>('artifacts.find', { id, name })
      return { ...found, stream: readInPieces(found.bytes, (start) => call('artifacts.read', { id, name, start })) }
    },
    async checkpoint(value) {
      if (isLongerThan(value, max_checkpoint)) throw checkpointTooLarge(max_checkpoint)
      const text = JSON.stringify(value)
      if (text === undefined) throw new TypeError(`a checkpoint must be JSON, a ${typeof value} has no such form`)
      if (Buffer.byteLength(text) > max_checkpoint) throw checkpointTooLarge(max_checkpoint)
      await call('checkpoint', { value: text })
    },
    async submit(job) {
      // As JSON from here on, as over HTTP. What is too large to be taken need not reach the main thread.
      const most = max_payload + ENVELOPE_BYTES
      if (isLongerThan(job, most)) throw tooLarge(most, max_payload)
      const changed = changedByJson(job, 'job')
      if (changed !== null) throw Object.assign(new TypeError(`submit: ${changed}`), { retryable: false })
      const text = JSON.stringify(job) ?? 'null'
      if (text.length > most) throw tooLarge(most, max_payload)
      return call('submit', { job: text })
    },
  }
}

/** What runs and jobs before this one left for it. */
export async function inputsOf({ resumed, dependencies }: Task, { call }: Calls): Promise<Inputs> {
  const checkpoint = resumed ? await call<JsonText | null>('checkpoint.last', {}) : null
  const found: Dependency[] = []
  // One by one: a hundred results of a megabyte would be too much for one message.
  for (let index = 0; index < dependencies; index += 1) {
    const job = await call<JsonText | null>('dependency', { index })
    if (job !== null) found.push(JSON.parse(job))
  }
  return { lastCheckpoint: checkpoint === null ? null : JSON.parse(checkpoint), dependencies: found }
}

export type Inputs = Pick<JobContext, 'lastCheckpoint' | 'dependencies'>

function checkpointTooLarge(max_checkpoint: number): Error {
  const message = `a checkpoint may have ${max_checkpoint} bytes as JSON (limits.checkpoint); more belongs into an artifact`
  return Object.assign(new Error(message), { retryable: false })
}

function tooLarge(most: number, max_payload: number): Error {
  const message = `the submitted job has more than ${most} characters as JSON, its payload may have ${max_payload} bytes (limits.payload)`
  return Object.assign(new Error(message), { retryable: false })
}

/** `read` answers some of the bytes from `start` on, at least one. */
function readInPieces(bytes: number, read: (start: number) => Promise<Uint8Array>): Readable {
  let start = 0
  return new Readable({
    read() {
      if (start >= bytes) {
        this.push(null)
        return
      }
      read(start).then(
        (piece) => {
          start += piece.length
          this.push(piece)
        },
        (error: Error) => this.destroy(error),
      )
    },
  })
}
