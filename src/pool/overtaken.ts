// Runs whose report came before the message that they began: the two come over different ports, in no order.

import type { RunKey } from './protocol.js'
import { MAX_THREADS } from './threads.js'

export interface Overtaken {
  add(run: RunKey): void
  /** Whether that message was still to come; from now on it is not. */
  take(run: RunKey): boolean
}

export function createOvertaken(): Overtaken {
  const keys = new Set<string>()
  const keyOf = ({ id, run }: RunKey) => `${id} ${run}`
  return {
    add(run) {
      keys.add(keyOf(run))
      // A thread that ends takes its unread messages along: of each thread at most one is still to come.
      if (keys.size > MAX_THREADS) keys.delete([...keys][0] ?? '')
    },
    take: (run) => keys.delete(keyOf(run)),
  }
}
