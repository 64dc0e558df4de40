// Takes a job from a client: what was sent before under the same Idempotency-Key is answered as it was.
import type { Accepted, JobKey, Store } from '../store/store.js'
import { readSubmission, type SubmissionRules } from '../submission.js'
import type { JobTracker } from '../tracker.js'

export interface SubmitOptions {
  store: Store
  tracker: JobTracker
  submissionRules: SubmissionRules
}

/** `body` is what POST /jobs takes, `sent` the Idempotency-Key that came with it, `at` milliseconds since 1970. */
export type Submit = (body: unknown, sent: readonly JobKey[], at: number) => Promise<Accepted>

export function createSubmit({ store, tracker, submissionRules }: SubmitOptions): Submit {
  /** Before anything else: what was right when it was sent first may not be any more. */
  async function sentBefore(key: JobKey | undefined, at: number): Promise<Accepted | null> {
    const [job] = (key && (await store.recall(key, at, false)))?.jobs ?? []
    return job === undefined ? null : { job, deduplicated: true }
  }

  return async (body, sent, at) => {
    const before = await sentBefore(sent[0], at)
    if (before !== null) return before
    const submission = readSubmission(body, submissionRules, at)
    return tracker.submit({ ...submission, keys: [...sent, ...submission.keys] }, at)
  }
}
