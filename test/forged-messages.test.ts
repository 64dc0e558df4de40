// What a handler posts by itself, forged or in masses: it costs that job at most, and the service keeps only what is bounded.
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { payloadFailure } from '../src/pool/failure.js'
import { shareService, startService } from './support/service.js'

const LIMITS = { result: 1_000, error: 1_024, log_lines: 5, log_line: 64 }

/** Each does as its name says; `post` fills in what belongs to the run. */
const TYPE = {
  'types/forges.mjs': `import { MessageChannel, parentPort } from 'node:worker_threads'
  const LONG = 20_000_000
  const forever = () => new Promise(() => {})
  const completed = (more) => ({ progress: null, outcome: { kind: 'completed', result: null, artifacts: [], ...more } })
  const acts = {
    report: (post, more) => post({ kind: 'last_report', report: completed(more) }),
    long_report: (post) => post({ kind: 'last_report', report: completed({ result: '"' + 'x'.repeat(LONG) + '"' }) }),
    async failed_report(post) {
      const own = { message: 'm'.repeat(5000), stack: 's'.repeat(5000), retryable: false, extra: 'passed' }
      post({ kind: 'last_report', report: { progress: null, outcome: { kind: 'failed', code: 'c'.repeat(5000), ...own } } })
      await forever()
    },
    async uncaught(post, code) {
      post({ kind: 'uncaught', failure: { code, message: 'forged', retryable: false, extra: 'passed' } })
      await forever()
    },
    stray: (post, more) => post({ kind: 'uncaught', failure: { code: 'handler_error', message: 'stray' }, ...more }),
    async started(post) {
      for (let i = 0; i < 50; i += 1) post({ kind: 'started', thread: 1 })
      post({ kind: 'log', message: 'said' })
      await forever()
    },
    lines: (post) => { for (let i = 0; i < 50; i += 1) post({ kind: 'log', message: 'line ' + i }) },
    async flood(post, kind) {
      const own = { progress: (i) => ({ percent: i % 100, note: null }), log: () => ({ message: 'again' }),
        uncaught: () => ({ id: 'unknown', run: 0, failure: { code: 'handler_error', message: 'again' } }), nonsense: () => ({}) }
      for (let i = 0; i < 100_000; i += 1) post({ kind, ...own[kind](i) })
      await forever()
    },
    strays: (post) => { for (let i = 0; i < 500; i += 1) acts.stray(post, { id: 'unknown', run: 0 }) },
    async call(post, { method, args, times = 1 }) {
      const { port1, port2 } = new MessageChannel()
      post({ kind: 'calls', port: port2 }, [port2])
      const answer = new Promise((resolve) => port1.on('message', resolve))
      const text = (value) => (value === 'long' ? 'x'.repeat(LONG) : value)
      const own = Object.fromEntries(Object.entries(args).map(([name, value]) => [name, text(value)]))
      for (let i = 0; i < times; i += 1) port1.postMessage({ call: i, method: text(method), args: own })
      const { error, value } = await (times > 1 ? forever() : answer)
      port1.close()
      return error?.message ?? value
    },
  }
  export default { retry_count: 0, timeout: '20s', run({ act, how }, ctx) {
    const post = (message, moved) => void parentPort.postMessage({ id: ctx.id, run: ctx.run, ...message }, moved)
    return acts[act](post, how)
  } }`,
  'types/submits.mjs': `const values = {
    map: new Map([[1, 2]]), set: new Set([1]), nan: NaN, infinity: -Infinity, bigint: 10n, regexp: /x/, bytes: Buffer.from('x'),
    holes: [undefined], function: () => 1, no_date: new Date(NaN), error: new Error('x'), date: new Date(0), url: new URL('http://x/'),
    left_out: undefined, fields: new (class { x = 1 })(), nothing: null, long: 'x'.repeat(100_000_000), many: new Array(4_000_000_000),
  }
  export default { retry_count: 0, async run({ value }, ctx) {
    return ctx.submit({ type: 'greet', payload: { name: 'x', a: [{ b: values[value] }] } })
  } }`,
  'types/sprays.mjs': `export default { retry_count: 0, async run(_, ctx) {
    const calls = Array.from({ length: 3000 }, () => ctx.jobs.count({ status: ['failed'] }))
    const unsendable = Array.from({ length: 200 }, () => ctx.jobs.count({ type: () => {} }).catch(() => {}))
    return (await Promise.all([...calls, ...unsendable])).filter((count) => count === 0).length
  } }`,
  'types/notes.mjs': `export default { retry_count: 0, async run(_, ctx) { await ctx.progress(5, '😀'.repeat(300)) } }`,
}

const OPTIONS = { files: TYPE, config: { limits: LIMITS, worker: { max_workers: 1 } } }
const theService = shareService(OPTIONS)

const startForged = async () => forged(await startService(OPTIONS))
/** For tests that look at nothing but what becomes of a job of theirs. */
const shared = async () => forged(await theService())

function forged(service: Awaited<ReturnType<typeof startService>>) {
  const { submit, ends, lines, http } = service
  const end = async (job: object) => {
    const ended = await ends((await submit(job)).id)
    // It alone: the next one on the same service is not touched.
    expect(await ends((await submit({ type: 'greet', payload: {} })).id)).toMatchObject({ status: 'completed' })
    return ended
  }
  return {
    ...service,
    end,
    forges: (act: string, how: unknown = null) => end({ type: 'forges', payload: { act, how } }),
    logged: (msg: string) => lines.filter((line) => line.msg === msg),
    attempt: async (id: string) => (await http.get(`/jobs/${id}/attempts`)).body.attempts[0],
  }
}

describe('a forged report', () => {
  test('with a result of 20 MB is not parsed, and dropped', async () => {
    const { forges } = await shared()
    expect(await forges('long_report')).toMatchObject({ status: 'completed', result: null })
  })

  test.each([
    ['a result above limits.result', { result: `"${'x'.repeat(900)}${'é'.repeat(90)}"` }],
    ['a result that is no JSON', { result: '{' }],
    ['too many artifacts', { artifacts: Array(101).fill({ name: 'a', bytes: 1, content_type: 'text/plain' }) }],
    ['an artifact with a long name', { artifacts: [{ name: 'n'.repeat(300), bytes: 1, content_type: 'text/plain' }] }],
    ['an artifact with a path', { artifacts: [{ name: '../../x', bytes: 1, content_type: 'text/plain' }] }],
    ['an artifact of no media type', { artifacts: [{ name: 'a', bytes: 1, content_type: 'x'.repeat(9_000) }] }],
  ])('with %s is dropped', async (_, how) => {
    const { forges } = await shared()
    const { status, result, artifacts } = await forges('report', how)
    expect({ status, result, artifacts }).toEqual({ status: 'completed', result: null, artifacts: [] })
  })

  test('of a failure is cut, with a code that is known', async () => {
    const { forges, attempt } = await shared()
    const { id, error } = await forges('failed_report')
    expect(error?.code).toBe('handler_error')
    const kept = JSON.stringify(await attempt(id))
    expect(kept).toContain('mmm')
    expect(kept).not.toContain('passed')
    expect(kept.length).toBeLessThan(2 * LIMITS.error + 500)
  })
})

describe('a forged error', () => {
  test.each([
    ['payload_invalid', 'payload_invalid'],
    ['timeout', 'handler_error'],
    ['x'.repeat(100), 'handler_error'],
  ])('with the code %s is kept as %s', async (code, kept) => {
    const { forges } = await shared()
    expect((await forges('uncaught', code)).error).toMatchObject({ code: kept, message: 'forged' })
  })

  test.each([
    [{ id: 'x'.repeat(1_000), run: 0 }, 0],
    [{ id: 'unknown', run: 0.5 }, 0],
    [{ id: 'unknown', run: 2 ** 60 }, 0],
    [{ id: 'unknown', run: 0 }, 1],
  ])('of %j is told %i times', async (how, times) => {
    const { forges, logged } = await startForged()
    expect(await forges('stray', how)).toMatchObject({ status: 'completed' })
    expect(logged('stray error')).toHaveLength(times)
  })

  test('of no run is told ten times a second, and then only counted', async () => {
    const { forges, logged } = await startForged()
    expect(await forges('strays')).toMatchObject({ status: 'completed' })
    const told = () => logged('stray error').map(({ error }) => String(error))
    await expect.poll(told).toContainEqual(expect.stringMatching(/^\d+ more errors that belong to no run/))
    expect(told().length).toBeLessThan(50)
  })
})

describe('posted messages', () => {
  test('that the run has started count once', async () => {
    const { submit, logged } = await startForged()
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const before = timers()
    await submit({ type: 'forges', payload: { act: 'started' } })
    await expect.poll(() => logged('job log')).toHaveLength(1)
    expect(timers() - before).toBeLessThan(25)
  })

  test('with log lines are held to limits.log_lines', async () => {
    const { forges, logged } = await startForged()
    await forges('lines')
    const last = 'no more lines are logged for this run after 5'
    // What a thread posts may come a moment after the outcome of its run.
    await expect.poll(() => logged('job log').map(({ line }) => line)).toContain(last)
    const lines = logged('job log').map(({ line }) => line)
    expect(lines).toEqual(['line 0', 'line 1', 'line 2', 'line 3', last])
  })

  test.each(['progress', 'log', 'uncaught', 'nonsense'])('of kind %s in masses end their run', async (kind) => {
    const { forges, lines } = await startForged()
    const { status, error } = await forges('flood', kind)
    expect({ status, message: error?.message }).toEqual({
      status: 'failed',
      message: 'its handler posted messages in masses, other than by ctx: its thread was ended',
    })
    expect(lines.length).toBeLessThan(100)
  })
})

describe('calls over an own port', () => {
  test.each([
    ['submit', { job: 'long' }],
    ['checkpoint', { value: 'long' }],
    ['artifacts.find', { id: 'long', name: 'x' }],
    ['artifacts.find', { id: 'x', name: 'long' }],
    ['jobs.page', { filter: { type: 'x' }, cursor: 'long' }],
    ['jobs.page', { filter: { status: Array(20_000).fill('failed') } }],
  ])('of %s with 20 MB are refused unread', async (method, args) => {
    const { forges } = await shared()
    const { result } = await forges('call', { method, args })
    expect(result).toBe(`${method}: its arguments are too large`)
  })

  test('in masses end their run', async () => {
    const { forges } = await startForged()
    const { status, error } = await forges('call', { method: 'jobs.count', args: { filter: {} }, times: 100_000 })
    expect([status, error?.message]).toEqual(['failed', expect.stringContaining('in masses')])
  })

  test('are not what ctx does, however many are made at once', async () => {
    const { end } = await startForged()
    expect(await end({ type: 'sprays' })).toMatchObject({ status: 'completed', result: 3_000 })
  })
})

describe('ctx.submit', () => {
  const where = 'submit: job.payload.a[0].b'
  const REFUSED = [
    ['map', `${where} is Map`],
    ['set', `${where} is Set`],
    ['nan', `${where} is NaN`],
    ['infinity', `${where} is -Infinity`],
    ['bigint', `${where} is a BigInt`],
    ['regexp', `${where} is RegExp`],
    ['bytes', `${where} is Buffer`],
    ['holes', `${where}[0] is undefined`],
    ['function', `${where} is function`],
    ['no_date', `${where} is an invalid Date`],
    ['error', `${where} is Error`],
    ['long', '(limits.payload)'],
    ['many', '(limits.payload)'],
  ]
  test('refuses what JSON would change, and says where it is', async () => {
    const { end } = await shared()
    for (const [value, message] of REFUSED) {
      const { status, error } = await end({ type: 'submits', payload: { value } })
      expect([value, status, error?.message]).toEqual([value, 'failed', expect.stringContaining(String(message))])
    }
  })

  const TAKEN: [string, object][] = [
    ['date', { b: '1970-01-01T00:00:00.000Z' }],
    ['url', { b: 'http://x/' }],
    ['left_out', {}],
    ['fields', { b: { x: 1 } }],
    ['nothing', { b: null }],
  ]
  test('takes what has a form in JSON', async () => {
    const { end, get } = await shared()
    for (const [value, kept] of TAKEN) {
      const { result } = await end({ type: 'submits', payload: { value } })
      expect((await get(Object(result).id)).payload, value).toEqual({ name: 'x', a: [kept] })
    }
  })
})

describe('texts that are not cut by half a character', () => {
  test('are notes of progress', async () => {
    const { submit, ends } = await startService({ files: TYPE })
    const { progress_note } = await ends((await submit({ type: 'notes' })).id)
    expect(progress_note).toMatch(/^(😀){122}… \(cut\)$/u)
  })

  test('are those of a payload that does not fit', () => {
    const { error } = z.strictObject({}).safeParse({ ['é'.repeat(100_000)]: 1 })
    const { message } = payloadFailure(error as z.ZodError, LIMITS.error)
    expect(message).toMatch(/^the stored payload .*é… \(cut\)$/)
    expect(Buffer.byteLength(message)).toBeLessThanOrEqual(LIMITS.error / 4)
  })
})
