// Spans of time as people write them ("90s", "10m", "30d"), in milliseconds inside. Without zod: every thread loads this.

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const
export const SPAN_PATTERN = /^(\d{1,12})(ms|s|m|h|d|w)$/

/** Ten years: no delay, timeout or interval is longer. */
export const MAX_SPAN_MS = 3_650 * UNITS.d

/** Milliseconds of `value` (a number counts seconds), or null where it is no span of 0 to 3650 days. */
export function parseDuration(value: string | number): number | null {
  const ms = typeof value === 'number' ? Math.round(value * 1_000) : parseText(value)
  return ms >= 0 && ms <= MAX_SPAN_MS ? ms : null
}

function parseText(text: string): number {
  const [, digits, unit] = SPAN_PATTERN.exec(text) ?? []
  return digits === undefined ? Number.NaN : Number(digits) * UNITS[unit as keyof typeof UNITS]
}

/** The shortest exact text of a span: 90000 → "90s", 3600000 → "1h". */
export function formatDuration(ms: number): string {
  const units = Object.entries(UNITS).filter(([unit]) => unit !== 'w')
  const [unit, size] = units.findLast(([, size]) => ms > 0 && ms % size === 0) ?? ['ms', 1]
  return `${ms / size}${unit}`
}
