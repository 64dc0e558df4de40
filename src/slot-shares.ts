// How the free slots are shared among the types: slots reserved for one, and bounds on how many jobs of one may run.

export interface TypeLimits {
  name: string
  /** Jobs of it that may run at once; null: as many as there are slots. */
  concurrency: number | null
  /** Slots that no other type may take. */
  reserved: number
  rate: Rate | null
}

/** At most `limit` starts in any span of `per_ms` milliseconds. */
export interface Rate {
  limit: number
  per_ms: number
}

/** What one type may claim now. */
export interface Share {
  type: string
  /** At most so many, of `reserved` and common slots together. */
  limit: number
  /** So many are kept for it alone; any further one is taken from those that all types share. */
  reserved: number
  /** What the store holds it to, over all nodes. Left out: nothing. */
  rate?: Rate | null
}

/**
 * What each of `types` may claim while `running` (jobs by type) hold `slots - free` of the slots. One slot always stays
 * unreserved, also after the number of slots was lowered below what the types reserve.
 */
export function sharesOf(
  types: readonly TypeLimits[],
  running: ReadonlyMap<string, number>,
  slots: number,
  free: number,
): Share[] {
  let reservable = slots - 1
  const shares = types.map(({ name, concurrency, reserved, rate }) => {
    const kept = Math.max(0, Math.min(reserved, concurrency ?? slots, reservable))
    reservable -= kept
    const runs = running.get(name) ?? 0
    return { type: name, room: (concurrency ?? slots) - runs, reserved: Math.max(0, kept - runs), rate }
  })
  const common = Math.max(0, free - shares.reduce((sum, { reserved }) => sum + reserved, 0))
  return shares
    .map(({ type, room, reserved, rate }) => ({ type, limit: Math.min(room, reserved + common, free), reserved, rate }))
    .filter(({ limit }) => limit > 0)
}

/** The first of `candidates` that `shares` have room for, `free` at most, in their order. */
export function pick<C extends { type: string }>(
  candidates: readonly C[],
  shares: readonly Share[],
  free: number,
): C[] {
  const taken = new Map<string, number>()
  const reserved = new Map(shares.map((share) => [share.type, share.reserved]))
  const limits = new Map(shares.map((share) => [share.type, share.limit]))
  let common = free - shares.reduce((sum, share) => sum + share.reserved, 0)
  const picked: C[] = []
  for (const candidate of candidates) {
    const { type } = candidate
    const n = taken.get(type) ?? 0
    if (picked.length === free) break
    if (n >= (limits.get(type) ?? 0)) continue
    if (n >= (reserved.get(type) ?? 0)) {
      if (common <= 0) continue
      common -= 1
    }
    taken.set(type, n + 1)
    picked.push(candidate)
  }
  return picked
}
