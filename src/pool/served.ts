// The part of a handler's context that the main thread serves: jobmill's own jobs, artifacts of other jobs, submissions.
import { Readable } from 'node:stream'
import type { ArtifactReader, JobContext } from '../define-job.js'
import type { Calls } from './calls.js'

type Served = Pick<JobContext, 'jobs' | 'openArtifact' | 'submit'>

/** What a submission has beside its payload takes no more. */
const ENVELOPE_BYTES = 4_096

/** `max_payload` is bytes. */
export function servedContext({ call }: Calls, max_payload: number): Served {
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
    async submit(job) {
      // As JSON from here on, as over HTTP. What is too large to be taken need not reach the main thread.
      const text = JSON.stringify(job) ?? 'null'
      if (text.length > max_payload + ENVELOPE_BYTES) throw tooLarge(text.length, max_payload)
      return call('submit', { job: text })
    },
  }
}

function tooLarge(length: number, max_payload: number): Error {
  const message = `the submitted job has ${length} characters as JSON, its payload may have ${max_payload} bytes (limits.payload)`
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
