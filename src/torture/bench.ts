// What a fault has at hand: the build under test, fresh folders, and how many rounds it is to go.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Bench {
  /** main.js of the build under test. */
  main: string
  /** Seconds that a fault made of rounds goes on at least, where its rounds took less. */
  soak_s: number
  /** Of the rounds that faults take, where not all are tried: 0 to 1. */
  share?: number
  /** Fires when no further server is to be started. */
  interrupted: AbortSignal
}

/** One way in which things go wrong, and what has to hold then. */
export interface Fault {
  number: number
  name: string
  expected: string
  /** It measures time: nothing else may keep the machine busy. */
  quiet?: boolean
  /** Why it cannot be tried on this machine, or null. */
  missing(): string | null
  run(bench: Bench): Promise<Finding>
}

/** What was seen. The promise holds where there are no violations. */
export interface Finding {
  rounds: number
  counts: Record<string, number>
  violations: string[]
}

/** How many of `n` are to be tried: two at least, where there are as many. */
export function partOf({ share = 1 }: Bench, n: number): number {
  return Math.min(n, Math.max(2, Math.ceil(n * share)))
}

/** At least `least` rounds, or the bench's share of them, and more until the soak is over. */
export function* rounds(bench: Bench, least: number): Generator<number> {
  const end = performance.now() + bench.soak_s * 1_000
  for (let round = 0; round < partOf(bench, least) || performance.now() < end; round += 1) yield round
}

/** Gives `body` a folder with these files and removes it afterwards, whatever happens. */
export async function inFolder<T>(files: Record<string, unknown>, body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'jobmill-torture-'))
  try {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
    }
    return await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Asks until the answer is one; rejects after `limit_ms`. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | null | false | undefined> | T | null | false | undefined,
  limit_ms = 30_000,
): Promise<T> {
  const begun = performance.now()
  for (;;) {
    const answer = await ask()
    if (answer !== null && answer !== undefined && answer !== false) return answer
    if (performance.now() - begun > limit_ms) throw new Error(`waited ${limit_ms} ms in vain until ${what}`)
    await sleep(10)
  }
}

/** What `promise` comes to; rejects where that takes longer than `limit_ms`: what never ends is to be told, not waited for. */
export async function within<T>(what: string, promise: Promise<T>, limit_ms = 60_000): Promise<T> {
  const over = new AbortController()
  const late = sleep(limit_ms, undefined, over).then(() => {
    throw new Error(`waited ${limit_ms} ms in vain until ${what}`)
  })
  return Promise.race([promise, late]).finally(() => over.abort())
}

/** The finding of a fault that is looked at check by check; what is false is a violation. */
export function createFinding() {
  const violations: string[] = []
  const counts: Record<string, number> = {}
  return {
    violations,
    counts,
    check(holds: boolean, violation: string): void {
      if (!holds) violations.push(violation)
    },
    count(what: string, n = 1): void {
      counts[what] = (counts[what] ?? 0) + n
    },
  }
}
