// What one job may make the service keep: at each limit it is kept whole, one byte above it that job alone is refused or cut.
import { describe, expect, test } from 'vitest'
import { cut } from '../src/cut.js'
import { isLongerThan } from '../src/pool/json-size.js'
import { startService } from './support/service.js'

const LIMITS = { payload: 1_000, result: 1_000, error: 1_024, log_lines: 5, log_line: 64 }

/** Does as its payload says. */
const TYPE = {
  'types/does.mjs': `import { parentPort } from 'node:worker_threads'
  const values = {
    text: (n) => 'x'.repeat(n), wide: (n) => 'é'.repeat(n), list: (n) => Array(n).fill(7), holes: (n) => new Array(n),
    bytes: (n) => Buffer.alloc(n), deep: (n) => ({ a: { b: ['x'.repeat(n)] } }), shared: (n) => { const s = ['x'.repeat(n)]; return [s, s] },
    bigint: () => ({ n: 10n }), circle: () => { const a = {}; a.a = a; return a }, date: () => new Date(0), nan: () => NaN,
    nested: (n) => { let a = 1; for (let i = 0; i < n; i += 1) a = [a]; return a }, infinity: () => ({ n: JSON.parse('1e400') }),
  }
  export default { retry_count: 0, timeout: '20s', async run({ what, value, n }, ctx) {
    const made = values[value]?.(n)
    if (what === 'return') return made
    if (what === 'throw') throw new Error(made)
    if (what === 'log') for (let i = 0; i < n; i += 1) ctx.log(made ?? 'line ' + i)
    if (what === 'submit') return ctx.submit({ type: 'greet', payload: { name: made } })
    if (what === 'note') await ctx.progress(5, made)
    const own = { id: ctx.id, run: ctx.run }
    if (what === 'post_log') parentPort.postMessage({ ...own, kind: 'log', message: made })
    if (what === 'post_note') parentPort.postMessage({ ...own, kind: 'progress', percent: 5, note: made })
    if (what === 'post_uncaught') {
      parentPort.postMessage({ ...own, kind: 'uncaught', failure: { code: 'handler_error', message: made, stack: made, retryable: false } })
      await new Promise(() => {})
    }
  } }`,
}

async function startLimited() {
  const service = await startService({ files: TYPE, config: { limits: LIMITS, worker: { max_workers: 1 } } })
  const { submit, ends } = service
  return {
    ...service,
    async does(payload: { what: string; value?: string; n?: number }) {
      const job = await ends((await submit({ type: 'does', payload })).id)
      // It alone: the next one on the same service is not touched.
      expect(await ends((await submit({ type: 'greet', payload: {} })).id)).toMatchObject({ status: 'completed' })
      return job
    },
  }
}

describe('a payload', () => {
  const job = (name: string) => ({ type: 'greet', payload: { name } })
  const room = LIMITS.payload - '{"name":""}'.length

  test.each([
    ['x', room],
    ['é', Math.floor(room / 2)],
  ])('of %s is taken with limits.payload bytes, and refused with more', async (letter, most) => {
    const { http } = await startLimited()
    await http
      .post('/jobs')
      .send(job(letter.repeat(most)))
      .expect(202)
    const { body } = await http
      .post('/jobs')
      .send(job(letter.repeat(most + 1)))
      .expect(422)
    expect(body.errors).toEqual([
      { pointer: '/payload', detail: expect.stringContaining('1000 bytes (limits.payload)') },
    ])
  })

  test.each([
    ['text', room, 'completed', undefined],
    ['text', room + 1, 'failed', 'limits.payload'],
    ['text', 100_000_000, 'failed', 'limits.payload'],
    ['bigint', 0, 'failed', 'BigInt'],
    ['circle', 0, 'failed', 'circular'],
    ['nested', 70, 'failed', 'nested deeper than 64'],
    ['date', 0, 'completed', undefined],
  ])('that a handler submits (%s, %i) ends so: %s', async (value, n, status, message) => {
    const { does } = await startLimited()
    const { status: seen, error } = await does({ what: 'submit', value, n })
    expect([seen, error?.message ?? '']).toEqual([status, expect.stringContaining(message ?? '')])
  })
})

describe('a result', () => {
  test.each([
    ['text', LIMITS.result - 2, 'completed'],
    ['text', LIMITS.result - 1, 'result_too_large'],
    ['wide', LIMITS.result / 2 - 1, 'completed'],
    ['wide', LIMITS.result / 2, 'result_too_large'],
    ['list', 499, 'completed'],
    ['list', 500, 'result_too_large'],
    ['deep', 980, 'completed'],
    ['deep', 1_000, 'result_too_large'],
    ['text', 500_000_000, 'result_too_large'],
    ['holes', 4_000_000_000, 'result_too_large'],
    ['bytes', 300_000_000, 'result_too_large'],
    ['bigint', 0, 'result_not_serialisable'],
    ['circle', 0, 'result_not_serialisable'],
    ['nested', 100_000, 'result_too_large'],
  ])('of %s %i ends as %s', async (value, n, how) => {
    const { does } = await startLimited()
    const { status, error, result } = await does({ what: 'return', value, n })
    expect(error?.code ?? status).toBe(how)
    if (how !== 'completed') expect(result).toBeNull()
  })

  test('that is met twice counts at least once', () => {
    const shared = ['x'.repeat(100)]
    expect([isLongerThan([shared, shared], 90), isLongerThan([shared, shared], 300)]).toEqual([true, false])
  })
})

describe('texts', () => {
  test('of an error are cut, message and stack', async () => {
    const { does, http } = await startLimited()
    const { id, error } = await does({ what: 'throw', value: 'wide', n: 100_000 })
    expect(error?.message).toMatch(/^é+… \(cut\)$/)
    const { attempts } = (await http.get(`/jobs/${id}/attempts`)).body
    const { message, stack } = attempts[0].error
    expect(Buffer.byteLength(message + stack)).toBeLessThanOrEqual(LIMITS.error)
    expect(Buffer.byteLength(message)).toBeGreaterThan(LIMITS.error / 4 - 4)
  })

  test('of the log are cut, and so are their lines', async () => {
    const { does, lines } = await startLimited()
    await does({ what: 'log', value: 'text', n: 100 })
    const logged = lines.filter(({ msg }) => msg === 'job log').map(({ line }) => String(line))
    expect(logged).toHaveLength(LIMITS.log_lines)
    expect(logged[0]).toHaveLength(64 - 2)
    expect(Buffer.byteLength(logged[0] as string)).toBe(64)
    expect(logged.at(-1)).toContain('no more lines')
  })

  test.each(['post_log', 'post_note', 'post_uncaught'])(
    'that a handler posts by itself (%s) are cut too',
    async (what) => {
      const { does, lines, http } = await startLimited()
      const { id } = await does({ what, value: 'text', n: 50_000_000 })
      const { attempts } = (await http.get(`/jobs/${id}/attempts`)).body
      const kept = JSON.stringify([lines, attempts, (await http.get(`/jobs/${id}`)).body])
      // A note of that size comes only after the run has ended, and is dropped.
      if (what !== 'post_note') expect(kept).toContain('xxx')
      expect(kept.length).toBeLessThan(50_000)
    },
  )

  test.each([
    ['abc', 3, 'abc'],
    ['abcdefghijklmnop', 15, 'abcdef… (cut)'],
    ['ééééé', 10, 'ééééé'],
    ['éééééé', 11, 'é… (cut)'],
    ['éééééé', 10, '… (cut)'],
    ['😀😀😀😀', 15, '😀… (cut)'],
    ['', 0, ''],
  ])('%s is cut to %i bytes as %s', (text, bytes, expected) => {
    expect(cut(text, bytes)).toBe(expected)
  })
})
