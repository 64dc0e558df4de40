// Tests wait on conditions: asks again until the answer is one, or fails with the last answer.
import { setTimeout as sleep } from 'node:timers/promises'

export async function until<T>(
  what: string,
  ask: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  limit_ms = 20_000,
): Promise<T> {
  const begun = performance.now()
  for (;;) {
    const answer = await ask()
    if (answer !== null && answer !== undefined && answer !== false) return answer
    if (performance.now() - begun > limit_ms) throw new Error(`waited ${limit_ms} ms in vain until ${what}`)
    await sleep(10)
  }
}
