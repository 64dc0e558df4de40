// The schema of spans of time as people write them ("90s", "10m", "30d").
import { z } from 'zod'
import { formatDuration, MAX_SPAN_MS, parseDuration, SPAN_PATTERN } from './span.js'

const HINT = 'a number of seconds, or a text such as "500ms", "90s", "10m", "2h", "30d"'

/** A zod schema that takes a span between `min` and `max` milliseconds and yields milliseconds. */
export function duration({ min = 0, max = MAX_SPAN_MS }: { min?: number; max?: number } = {}) {
  const shown = {
    anyOf: [
      { type: 'number', minimum: min / 1_000, maximum: max / 1_000 },
      { type: 'string', pattern: SPAN_PATTERN.source },
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
