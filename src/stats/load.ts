// Throughput and utilisation over the last minutes: sums by the second.
import type { FinalStatus } from '../job.js'

/** Jobs per minute that ended. */
export interface Throughput {
  jobs_per_minute: number
  completed_per_minute: number
  failed_per_minute: number
  cancelled_per_minute: number
}

export interface Windows<T> {
  last_1m: T
  last_5m: T
  last_15m: T
}

export interface Load {
  ended(status: FinalStatus): void
  /** So many slots are `busy` from now on, of `slots` that there are. */
  slots(busy: number, slots: number): void
  /** During the first minutes it is what ended divided by the time since the start (1 s at least), not by the window. */
  throughput(): Windows<Throughput>
  /** Busy time of slots / time of slots, 0 to 1. Slots above a bound that was lowered count while they are busy. */
  utilisation(): Windows<number>
}

const SECONDS = 900
const CHANNELS = ['completed', 'failed', 'cancelled', 'busy_ms', 'slots_ms'] as const
type Channel = (typeof CHANNELS)[number]

/** `clock` is milliseconds that never go back. */
export function createLoad(clock: () => number): Load {
  const started = clock()
  const sums = Object.fromEntries(CHANNELS.map((channel) => [channel, new Float64Array(SECONDS)])) as Record<
    Channel,
    Float64Array
  >
  /** Milliseconds since the start up to which everything is added. */
  let summed_to = 0
  let busy = 0
  let slots = 0

  function add(channel: Channel, amount: number): void {
    const place = Math.floor(summed_to / 1_000) % SECONDS
    sums[channel][place] = (sums[channel][place] ?? 0) + amount
  }

  /** Adds the slots as they were since the last call, second by second; seconds that fell out of the ring are skipped. */
  function advance(): void {
    const now = clock() - started
    if (now - summed_to > SECONDS * 1_000) summed_to = (Math.floor(now / 1_000) - SECONDS) * 1_000
    while (summed_to < now) {
      const end = Math.min(now, (Math.floor(summed_to / 1_000) + 1) * 1_000)
      add('busy_ms', busy * (end - summed_to))
      add('slots_ms', Math.max(busy, slots) * (end - summed_to))
      summed_to = end
      if (summed_to % 1_000 === 0) for (const channel of CHANNELS) sums[channel][(summed_to / 1_000) % SECONDS] = 0
    }
  }

  /** The second that goes on and the whole ones before it: all that lies in the window, and how long that is. */
  function over(minutes: number) {
    const last = Math.floor(summed_to / 1_000)
    const first = Math.max(0, last - minutes * 60 + 1)
    const places = Array.from({ length: last - first + 1 }, (_, i) => (first + i) % SECONDS)
    const sum = (channel: Channel) => places.reduce((sum, place) => sum + (sums[channel][place] ?? 0), 0)
    return { sum, elapsed: summed_to - first * 1_000 }
  }

  function inWindows<T>(figure: (window: ReturnType<typeof over>) => T): Windows<T> {
    advance()
    return { last_1m: figure(over(1)), last_5m: figure(over(5)), last_15m: figure(over(15)) }
  }

  return {
    ended(status) {
      advance()
      add(status, 1)
    },
    slots(now_busy, now_slots) {
      advance()
      busy = now_busy
      slots = now_slots
    },
    throughput: () =>
      inWindows(({ sum, elapsed }) => {
        const perMinute = (jobs: number) => rounded((jobs * 60_000) / Math.max(1_000, elapsed))
        const [completed, failed, cancelled] = [sum('completed'), sum('failed'), sum('cancelled')]
        return {
          jobs_per_minute: perMinute(completed + failed + cancelled),
          completed_per_minute: perMinute(completed),
          failed_per_minute: perMinute(failed),
          cancelled_per_minute: perMinute(cancelled),
        }
      }),
    utilisation: () => inWindows(({ sum }) => rounded(sum('busy_ms') / (sum('slots_ms') || 1))),
  }
}

const rounded = (figure: number) => Math.round(figure * 1_000) / 1_000
