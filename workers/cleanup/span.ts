// How old is old: a span of time as a payload writes it, in milliseconds inside.
import { z } from 'zod'

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }
const MIN_MS = 1_000
const MAX_MS = 315_360_000_000
const HINT = 'must be a number of seconds, or a text such as "500ms", "90s", "10m", "2h", "30d"'
const RANGE = 'must be between 1s and 3650d'

/** Milliseconds of `value` (a number counts seconds), or null where it is no span of 0 to 3650 days. */
export function parseSpan(value: number | string): number | null {
  const ms = typeof value === 'number' ? Math.round(value * 1_000) : parseText(value)
  return ms >= 0 && ms <= MAX_MS ? ms : null
}

function parseText(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,12})(ms|s|m|h|d|w)$/.exec(text) ?? []
  return Number(digits) * (UNITS[unit] ?? Number.NaN)
}

/** Left as it was written: the result repeats it. */
export const span = z.union([z.number(), z.string()], { error: HINT }).superRefine((value, ctx) => {
  const ms = parseSpan(value)
  if (ms === null) ctx.addIssue({ code: 'custom', message: HINT })
  else if (ms < MIN_MS) ctx.addIssue({ code: 'custom', message: RANGE })
})
