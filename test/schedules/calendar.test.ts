// Calendars: which expressions are read, what is wrong with others, and the instants over changes of the clocks.
import { describe, expect, test } from 'vitest'
import { nextInstant, readCron, readFields } from '../../src/schedules/calendar.js'

function instants(cron: string, time_zone: string, after: string, n: number): string[] {
  const read = readCron(cron)
  if (!read.ok) throw new Error(JSON.stringify(read.findings))
  const found: string[] = []
  let at: number | null = Date.parse(after)
  for (let i = 0; i < n; i += 1) {
    at = nextInstant({ pattern: read.value, and: false, time_zone }, at as number)
    if (at === null) break
    found.push(new Date(at).toISOString().replace(':00.000Z', 'Z'))
  }
  return found
}

describe('a calendar', () => {
  test.each([
    // In the gap: at the first instant that there is; doubled: once; every hour: both.
    ['30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00Z', ['2026-03-29T01:00Z', '2026-03-30T00:30Z']],
    ['30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00Z', ['2026-10-25T00:30Z', '2026-10-26T01:30Z']],
    ['0 * * * *', 'Europe/Berlin', '2026-03-29T00:00Z', ['2026-03-29T01:00Z', '2026-03-29T02:00Z']],
    [
      '0 * * * *',
      'Europe/Berlin',
      '2026-10-24T23:30Z',
      ['2026-10-25T00:00Z', '2026-10-25T01:00Z', '2026-10-25T02:00Z'],
    ],
    ['30 2 * * *', 'America/New_York', '2026-03-07T12:00Z', ['2026-03-08T07:00Z', '2026-03-09T06:30Z']],
    ['30 1 * * *', 'America/New_York', '2026-10-31T12:00Z', ['2026-11-01T05:30Z', '2026-11-02T06:30Z']],
    ['15 2 * * *', 'Australia/Lord_Howe', '2026-10-03T00:00Z', ['2026-10-03T15:30Z', '2026-10-04T15:15Z']],
    [
      '*/15 * * * *',
      'Australia/Lord_Howe',
      '2026-04-04T14:40Z',
      ['2026-04-04T14:45Z', '2026-04-04T15:00Z', '2026-04-04T15:15Z'],
    ],
    ['30 8 * * *', 'Asia/Kolkata', '2026-01-01T00:00Z', ['2026-01-01T03:00Z', '2026-01-02T03:00Z']],
    ['0 0 29 2 *', 'UTC', '2026-01-01T00:00Z', ['2028-02-29T00:00Z', '2032-02-29T00:00Z']],
    ['0 0 31 * *', 'UTC', '2026-01-01T00:00Z', ['2026-01-31T00:00Z', '2026-03-31T00:00Z', '2026-05-31T00:00Z']],
    // Either day fits.
    ['0 0 13 * fri', 'UTC', '2026-01-08T12:00Z', ['2026-01-09T00:00Z', '2026-01-13T00:00Z', '2026-01-16T00:00Z']],
    ['0 0 30 2 *', 'UTC', '2026-01-01T00:00Z', []],
  ])('%s in %s after %s', (cron, zone, after, expected) => {
    expect(instants(cron, zone, after, Math.max(1, expected.length))).toEqual(expected)
  })

  test.each([
    ['0 30 8 * * 1-5', '0 30 8 * * 1-5'],
    ['30 8 * * mon-Fri', '0 30 8 * * 1-5'],
    ['*/5 0-30/10 1,2 1 jan,MARCH sun', '*/5 0-30/10 1,2 1 1,3 0'],
    ['0 0 * * sat-sun', '0 0 0 * * 6-7'],
  ])('is read from %s', (cron, pattern) => {
    expect(readCron(cron)).toEqual({ ok: true, value: pattern })
  })

  test.each([
    ['', 'five fields'],
    ['* * * *', 'it has 4'],
    ['50-30 * * * *', 'the range from 50 to 30 is empty'],
    ['60 * * * *', '"60" is not one of 0 to 59'],
    ['* 24 * * *', '"24" is not one of 0 to 23'],
    ['* * 0 * *', '"0" is not one of 1 to 31'],
    ['* * * 13 *', '"13" is not one of 1 to 12 and jan to dec'],
    ['* * * * 8', '"8" is not one of 0 to 7'],
    ['* * * * moon', '"moon" is not'],
    ['*/0 * * * *', 'no step'],
    ['5/10 * * * *', 'a step needs * or a range, such as 5-59/10'],
    ['1,,2 * * * *', '"" is not one of'],
    ['1-2-3 * * * *', 'not a value or a range'],
    ['L * * * *', '"L" is not'],
    ['-1 * * * *', '"" is not one of'],
  ])('"%s" is refused: %s', (cron, message) => {
    expect(readCron(cron)).toEqual({
      ok: false,
      findings: [expect.objectContaining({ message: expect.stringContaining(message) })],
    })
  })

  test('is read from lists of values and ranges, with a path to each that is wrong', () => {
    expect(readFields({ seconds: [0, [30, 40]], hours: [[10, 12]], days_of_week: ['mon', 'friday'] })).toEqual({
      ok: true,
      value: '0,30-40 * 10-12 * * 1,5',
    })
    expect(readFields({ minutes: [0, [50, 30]], months: [13], hours: [] })).toEqual({
      ok: false,
      findings: [
        { path: ['minutes', '1'], message: 'the range from 50 to 30 is empty' },
        { path: ['hours'], message: 'must not be empty' },
        { path: ['months', '0'], message: expect.stringContaining('"13" is not one of 1 to 12') },
      ],
    })
  })
})
