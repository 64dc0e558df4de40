// Sizes as people write them ("512KiB", "1MB"), in bytes inside.
import { z } from 'zod'

const UNITS = { B: 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 1_024, MiB: 1_048_576, GiB: 1_073_741_824 } as const
const PATTERN = /^(\d{1,12})(B|kB|KB|MB|GB|KiB|MiB|GiB)$/

const HINT = 'a whole number of bytes, or a text such as "512KiB", "1MiB", "1MB"'

/** Bytes of `value` (a number counts bytes), or null where it is no size: no fractions, no signs, no blanks. */
function parseBytes(value: string | number): number | null {
  const bytes = typeof value === 'number' ? value : parseText(value)
  return Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : null
}

function parseText(text: string): number {
  const [, digits, unit] = PATTERN.exec(text) ?? []
  return digits === undefined ? Number.NaN : Number(digits) * UNITS[unit as keyof typeof UNITS]
}

/** A zod schema that takes a size between `min` and `max` bytes and yields bytes. */
export function bytes({ min, max }: { min: number; max: number }) {
  return z.union([z.number(), z.string()], { error: `must be ${HINT}` }).transform((value, ctx) => {
    const size = parseBytes(value)
    if (size !== null && size >= min && size <= max) return size
    const range = `between ${formatBytes(min)} and ${formatBytes(max)}`
    ctx.addIssue({ code: 'custom', message: `must be ${size === null ? HINT : range}` })
    return z.NEVER
  })
}

/** The shortest exact text of a size, in binary units: 1048576 → "1MiB", 1000 → "1000B". */
function formatBytes(size: number): string {
  const binary = Object.entries(UNITS).filter(([unit]) => unit === 'B' || unit.endsWith('iB'))
  const [unit, factor] = binary.findLast(([, factor]) => size > 0 && size % factor === 0) ?? ['B', 1]
  return `${size / factor}${unit}`
}
