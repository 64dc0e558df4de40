// Spans of time as people write them.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { duration } from '../src/duration.js'
import { formatDuration, parseDuration } from '../src/span.js'

const TEN_YEARS = 3_650 * 86_400_000

describe('a duration', () => {
  test.each([
    ['500ms', 500],
    ['90s', 90_000],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['30d', 2_592_000_000],
    ['2w', 1_209_600_000],
    ['0s', 0],
    ['3650d', TEN_YEARS],
    [60, 60_000],
    [0, 0],
    [1.5, 1_500],
    [0.0004, 0],
  ])('%s is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms))

  test.each([
    '',
    '90',
    '-5m',
    '+5m',
    '5 m',
    ' 5m',
    '5m ',
    '5m\n',
    '1.5h',
    '5M',
    '5min',
    '1h30m',
    '1e3s',
    '0x10s',
    '٣s',
    'm',
    'soon',
    'toString',
    '3651d',
    '999999999999w',
    '1234567890123ms',
    -1,
    315_360_001,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ])('%j is none', (text) => expect(parseDuration(text)).toBeNull())

  test('that is a hair too short or too long is refused, not rounded', () => {
    const span = duration({ min: 100, max: 1_000 })
    expect([0.1, 1, '100ms', '1s'].map((value) => span.safeParse(value).success)).toEqual([true, true, true, true])
    expect([0.0999, 1.0001, '99ms'].map((value) => span.safeParse(value).success)).toEqual([false, false, false])
    expect(duration().safeParse(-0.0001).success).toBe(false)
  })

  test('is formatted as the shortest exact text, and read back the same', () => {
    const examples = [0, 1, 999, 1_000, 1_500, 90_000, 3_600_000, 5_400_000, 86_400_000, 604_800_000, TEN_YEARS]
    const texts = ['0ms', '1ms', '999ms', '1s', '1500ms', '90s', '1h', '90m', '1d', '7d', '3650d']
    expect(examples.map(formatDuration)).toEqual(texts)
    fc.assert(
      fc.property(fc.integer({ min: 0, max: TEN_YEARS }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms)
      }),
    )
  })

  test('of any text is nothing, or what its digits and unit say', () => {
    const unit = fc.constantFrom('ms', 's', 'm', 'h', 'd', 'w', 'y', '')
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.tuple(fc.nat(), unit).map(([n, unit]) => n + unit),
        ),
        (text) => {
          const ms = parseDuration(text)
          if (ms === null) return
          expect(text).toMatch(/^[0-9]+(ms|s|m|h|d|w)$/)
          expect(ms).toBeGreaterThanOrEqual(0)
          expect(ms).toBeLessThanOrEqual(TEN_YEARS)
        },
      ),
    )
  })
})

describe('the schema of a duration', () => {
  const schema = duration({ min: 1_000, max: 60_000 })
  const problem = (value: unknown) => schema.safeParse(value).error?.issues.map(({ message }) => message)

  test('yields milliseconds, the bounds included', () => {
    expect(['1s', '1m', 30, '1500ms'].map((value) => schema.parse(value))).toEqual([1_000, 60_000, 30_000, 1_500])
  })

  test('says the range where a span lies outside', () => {
    for (const value of ['999ms', 61, 0]) expect(problem(value)).toEqual(['must be between 1s and 1m'])
  })

  test('says how spans are written where it is none', () => {
    for (const value of ['soon', '-1s', -1, true, null, {}, undefined]) {
      expect(problem(value), String(value)).toEqual([expect.stringContaining('a number of seconds, or a text such as')])
    }
  })
})
