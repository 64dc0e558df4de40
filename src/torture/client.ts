// Clients that submit jobs and write down what they were told of each.
import type { Server } from './server.js'

export interface Ledger {
  /** Ids of jobs with a 202, by the token in their payload. */
  acknowledged: Map<string, string>
  /** Tokens of submissions that were refused: they must not be stored. */
  refused: Set<string>
  /** Tokens of submissions without an answer, or with one that says that it is not known. */
  unknown: Set<string>
}

export function createLedger(): Ledger {
  return { acknowledged: new Map(), refused: new Set(), unknown: new Set() }
}

/** Pieces of work and pauses between them, weight in the payload, and fields of a submission. */
export type Witnessing = { rounds?: number; pause?: number; pad?: string } & Record<string, unknown>

let tokens = 0

/** Submits one witness and writes down the answer; `status` is 0 where there was none. */
export async function submit(
  server: Server,
  ledger: Ledger,
  job: Witnessing = {},
): Promise<{ status: number; id: string | null }> {
  const { rounds, pause, pad, ...envelope } = job
  tokens += 1
  const token = `t${tokens}`
  try {
    const { status, body } = await server.call('POST', '/jobs', {
      type: 'witness',
      payload: { token, rounds, pause, pad },
      ...envelope,
    })
    if (status === 202) ledger.acknowledged.set(token, body.id)
    else if (body.code === 'outcome_unknown') ledger.unknown.add(token)
    else ledger.refused.add(token)
    return { status, id: status === 202 ? body.id : null }
  } catch {
    ledger.unknown.add(token)
    return { status: 0, id: null }
  }
}

export interface Load {
  /** Resolves when every client has had its last answer. */
  stop(): Promise<void>
}

/** Submits from so many clients at once, each waiting for its answer, until stopped or until the server is gone. */
export function startLoad(server: Server, ledger: Ledger, clients: number, job: Witnessing = {}): Load {
  let going = true
  const client = async () => {
    while (going) if ((await submit(server, ledger, job)).status === 0) return
  }
  const all = Promise.all(Array.from({ length: clients }, client))
  return {
    async stop() {
      going = false
      await all
    },
  }
}
