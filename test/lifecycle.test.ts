// The page about the life of a job says what the code does.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { JOB_STATUSES, type Rules, type Step, TRANSITIONS, transition, type Verb } from '../src/job.js'
import { newJob } from '../src/new-job.js'

const PAGE = readFileSync(new URL('../docs/lifecycle.md', import.meta.url), 'utf8')

/** Edges as "from --> to: verb"; the start of all is [*]. */
function drawn(page: string): string[] {
  const chart = /```mermaid\nstateDiagram-v2\n(.*?)```/s.exec(page)?.[1] ?? ''
  return chart
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

function coded(): string[] {
  return Object.entries(TRANSITIONS).flatMap(([verb, { from, to }]) =>
    (from.length === 0 ? ['[*]'] : from).flatMap((start) => to.map((end) => `${start} --> ${end}: ${verb}`)),
  )
}

/** Rows of the table under a heading, cells trimmed and without backticks. */
function rowsAfter(heading: string): string[][] {
  const lines = PAGE.slice(PAGE.indexOf(heading)).split('\n')
  const first = lines.findIndex((line) => line.startsWith('|'))
  const end = lines.findIndex((line, i) => i > first && !line.startsWith('|'))
  const cells = (line: string) => line.split('|').slice(1, -1)
  return lines.slice(first + 2, end).map((line) => cells(line).map((cell) => cell.replaceAll('`', '').trim()))
}

describe('docs/lifecycle.md', () => {
  test('draws each transition of the table, and no other', () => {
    const edges = drawn(PAGE)
    expect(
      edges.filter((edge) => !coded().includes(edge)),
      'drawn, but not in the table',
    ).toEqual([])
    expect(
      coded().filter((edge) => !edges.includes(edge)),
      'in the table, but not drawn',
    ).toEqual([])
    expect(new Set(edges).size).toBe(edges.length)
    expect(edges.every((edge) => /^(\[\*\]|[a-z]+) --> [a-z]+: [a-z]+$/.test(edge))).toBe(true)
  })

  test('lists each status once', () => {
    const listed = rowsAfter('| status |').flatMap(([status = '']) => status.split(' · '))
    expect(listed).toEqual([...JOB_STATUSES])
  })

  test('says of each verb what it charges', () => {
    const rules: Rules = { priority_aging: 60_000, poison_after: 3 }
    const error = { code: 'handler_error', message: 'no luck', attempt: 2 } as const
    const steps: Step[] = [
      { verb: 'promote' },
      { verb: 'unblock', failed: null },
      { verb: 'claim', node: 'n', slot: 1 },
      { verb: 'complete', result: null, artifacts: [] },
      { verb: 'retry', error, delay: 5_000 },
      { verb: 'fail', error },
      { verb: 'snooze', delay: 5_000 },
      { verb: 'release', detail: 'shutdown' },
      { verb: 'rescue' },
      { verb: 'expire' },
      { verb: 'cancel' },
      { verb: 'rerun' },
    ]
    const submission = { id: 'j', type: 'a', payload: '{}', priority: 2, run_at: null, max_attempts: 9, timeout_ms: 1 }
    const fresh = newJob(submission, 0, rules)
    const charged = (name: string, step: Step, interruptions: number): string[] => {
      const status = TRANSITIONS[step.verb].from[0] ?? 'pending'
      const before = { ...fresh, status, attempt: 2, run: 7, interruptions, rank: 55 }
      const after = transition(before, step, 1_000, rules)
      if (after === null) throw new Error(`${step.verb} is not allowed`)
      const cell = (was: number, is: number) =>
        is === was ? '' : is === 0 ? '0' : is > was ? `+${is - was}` : `−${was - is}`
      const counts = (['attempt', 'run', 'interruptions'] as const).map((key) => cell(before[key], after[key]))
      return [name, ...counts, after.rank === 55 ? 'kept' : 'moved']
    }
    const expected = [
      ['submit', ...[fresh.attempt, fresh.run, fresh.interruptions].map(String), 'moved'],
      ...steps.map((step) => charged(step.verb, step, 1)),
    ]
    const at = expected.findIndex(([verb]) => verb === 'rescue')
    expected.splice(at + 1, 0, charged('rescue, as poison', { verb: 'rescue' }, 2))
    const said = rowsAfter('## What each verb charges').map(([verb = '', attempt, run, interruptions, rank]) => {
      // A job that ends has no place any more; whatever it is, it is not changed.
      const moved = rank === '' || rank === 'kept' ? 'kept' : 'moved'
      return [verb, attempt, run, interruptions, moved]
    })
    expect(said).toEqual(expected)
    const verbs = new Set(said.map(([verb]) => verb?.replace(/,.*/, '')))
    expect(verbs).toEqual(new Set(Object.keys(TRANSITIONS) as Verb[]))
  })

  test('is read by this test: the control', () => {
    expect(drawn(PAGE).length).toBeGreaterThan(10)
    expect(drawn(PAGE.replace('```mermaid', '```'))).toEqual([])
  })
})
