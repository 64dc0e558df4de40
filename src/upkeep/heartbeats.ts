// Which loops turn, and which are stuck: kept from the signs of life that every loop gives on the bus.
import type { EventBus } from '../events.js'
import { timestamp } from '../job.js'
import { LONGEST_WAIT_MS } from './every.js'

export interface Heartbeats {
  /** The loops that were started and not stopped, each with its last sign of life: when it began or ended a pass. */
  loops(): Record<string, { turned_at: string }>
  /** Each loop that is stuck, and since when, in a sentence; null where all turn. */
  stuck(): string | null
}

export interface HeartbeatsOptions {
  bus: EventBus
  /** Milliseconds since 1970. */
  now(): number
  /** Milliseconds that never go back and that no change of the time of day moves. */
  clock(): number
}

/** What a pass, or a timer on a busy machine, may take beyond the longest wait. */
const GRACE_MS = 30_000

interface Sign {
  /** In a pass; otherwise between two. */
  running: boolean
  at: number
  clock: number
}

export function createHeartbeats({ bus, now, clock }: HeartbeatsOptions): Heartbeats {
  const signs = new Map<string, Sign>()

  bus.subscribe((event) => {
    if (event.kind !== 'loop') return
    if (event.state === 'stopped') signs.delete(event.loop)
    else signs.set(event.loop, { running: event.state === 'running', at: now(), clock: clock() })
  })

  return {
    loops: () => Object.fromEntries([...signs].map(([loop, { at }]) => [loop, { turned_at: timestamp(at) }])),
    stuck() {
      const overdue = [...signs].filter(([, sign]) => clock() - sign.clock > LONGEST_WAIT_MS + GRACE_MS)
      return overdue.length === 0 ? null : overdue.map(([loop, sign]) => sentence(loop, sign)).join('; ')
    },
  }
}

function sentence(loop: string, { running, at }: Sign): string {
  return running
    ? `the loop ${loop} is in a pass that began at ${timestamp(at)} and does not end`
    : `the loop ${loop} has not turned since ${timestamp(at)}`
}
