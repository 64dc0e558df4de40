// Spans of time as people write them ("90s", "10m", "30d"), in milliseconds inside.
import { z } from 'zod'

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const
const PATTERN = /^(\d{1,12})(ms|s|m|h|d|w)$/

/** Ten years: no delay, timeout or interval is longer. */
const MAX_MS = 3_650 * UNITS.d
const HINT = 'a number of seconds, or a text such as "500ms", "90s", "10m", "2h", "30d"'

/** Milliseconds of `value` (a number counts seconds), or null where it is no span of 0 to 3650 days. */
export function parseDuration(value: string | number): number | null {
  const ms = typeof value === 'number' ? Math.round(value * 1_000) : parseText(value)
  return ms >= 0 && ms <= MAX_MS ? ms : null
}

function parseText(text: string): number {
  const [, digits, unit] = PATTERN.exec(text) ?? []
  return digits === undefined ? Number.NaN : Number(digits) * UNITS[unit as keyof typeof UNITS]
}

/** A zod schema that takes a span between `min` and `max` milliseconds and yields milliseconds. */
export function duration({ min = 0, max = MAX_MS }: { min?: number; max?: number } = {}) {
  const shown = {
    anyOf: [
      { type: 'number', minimum: min / 1_000, maximum: max / 1_000 },
      { type: 'string', pattern: PATTERN.source },
    ],
    description: `Seconds, or a text such as "500ms", "90s", "10m", "2h", "30d": ${formatRange(min, max)}.`,
  }
  return z
    .union([z.number(), z.string()], { error: `must be ${HINT}` })
    .transform((value, ctx) => {
      const ms = parseDuration(value)
      // Before it is rounded: what is too short by half a millisecond is too short.
      const exact = ms !== null && typeof value === 'number' ? value * 1_000 : ms
      if (ms !== null && exact !== null && exact >= min && exact <= max) return ms
      ctx.addIssue({ code: 'custom', message: ms === null ? `must be ${HINT}` : `must be ${formatRange(min, max)}` })
      return z.NEVER
    })
    .meta(shown)
}

function formatRange(min: number, max: number): string {
  return `between ${formatDuration(min)} and ${formatDuration(max)}`
}

/** The shortest exact text of a span: 90000 → "90s", 3600000 → "1h". */
export function formatDuration(ms: number): string {
  const units = Object.entries(UNITS).filter(([unit]) => unit !== 'w')
  const [unit, size] = units.findLast(([, size]) => ms > 0 && ms % size === 0) ?? ['ms', 1]
  return `${ms / size}${unit}`
}
