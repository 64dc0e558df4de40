// Job types that behave well and badly, as files in the `worker.types` folder of a test.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterAll } from 'vitest'

const TYPES = {
  'types/greet.mjs': `export default {
    description: 'Say hello', timeout: '20s', retry_count: 1,
    async run(payload, ctx) { await ctx.progress(50, 'halfway'); return { greeting: 'Hello, ' + payload.name } },
  }`,
  // Real work of a chosen length: hashes until told to stop, the waits between are turns of the event loop.
  'types/hash.mjs': `import { createHash } from 'node:crypto'
  import { setImmediate } from 'node:timers/promises'
  export default { timeout: '60s', retry_count: 0,
    async run({ rounds }, ctx) {
      let digest = 'start'
      for (let i = 0; i < rounds; i += 1) {
        ctx.signal.throwIfAborted()
        for (let j = 0; j < 2000; j += 1) digest = createHash('sha256').update(digest).digest('hex')
        await ctx.progress((100 * i) / rounds)
        await setImmediate()
      }
      return { digest }
    } }`,
  // Works until its signal fires, then says why.
  'types/polite.mjs': `import { once } from 'node:events'
  import { setInterval } from 'node:timers'
  export default { timeout: '60s', retry_count: 0,
    async run({ at_end }, ctx) {
      const beat = setInterval(() => {}, 1000)
      await ctx.progress(10, 'waiting for my signal')
      if (!ctx.signal.aborted) await once(ctx.signal, 'abort')
      clearInterval(beat)
      ctx.log('asked to stop: ' + ctx.signal.reason)
      if (at_end === 'throw') throw new Error('stopped: ' + ctx.signal.reason)
      return { stopped_by: ctx.signal.reason }
    } }`,
  'types/endless.mjs': `export default { timeout: '60s', retry_count: 0, run() { for (;;); } }`,
  'types/throws.mjs': `export default { retry_count: 0, run() { throw new Error('no luck') } }`,
  'types/rejects.mjs': `export default { retry_count: 0, run: () => Promise.reject(new TypeError('rejected')) }`,
  'types/throws_text.mjs': `export default { retry_count: 0, run() { throw 'only words' } }`,
  'types/final.mjs': `export default { retry_count: 5, run() { throw Object.assign(new Error('never again'), { retryable: false }) } }`,
  'types/later.mjs': `export default { retry_count: 1, backoff: { base: '1h', max: '1h' },
    run(_, ctx) { if (ctx.attempt === 1) throw Object.assign(new Error('busy'), { retry_after_ms: 20 }); return ctx.attempt } }`,
  'types/flaky.mjs': `export default { retry_count: 2, backoff: { base: '20ms', max: '50ms' },
    run(_, ctx) { if (ctx.attempt < 3) throw new Error('attempt ' + ctx.attempt); return { attempt: ctx.attempt, run: ctx.run } } }`,
  'types/late.mjs': `export default { retry_count: 0, run() { setTimeout(() => { throw new Error('too late') }, 1); return 'done' } }`,
  'types/late_promise.mjs': `export default { retry_count: 0, run() { setTimeout(() => Promise.reject(new Error('too late')), 1); return 'done' } }`,
  'types/stray.mjs': `export default { retry_count: 0, run() { setTimeout(() => { throw new Error('from a timer') }, 1); return new Promise(() => {}) } }`,
  'types/throws_null.mjs': `export default { retry_count: 0, run() { throw null } }`,
  'types/throws_trap.mjs': `export default { retry_count: 0, run() { throw new Proxy({}, { get() { throw new Error('trap') }, getPrototypeOf() { throw new Error('trap') } }) } }`,
  'types/posts.mjs': `import { parentPort } from 'node:worker_threads'
  export default { retry_count: 0, async run(_, ctx) {
    const { id, run } = ctx
    for (const junk of [null, 5, 'x', {}, { kind: 'started' }, { kind: 'none', id: 'a', run: 1 }, { kind: 'uncaught', id: 'a', run: 1 },
      { kind: 'uncaught', id, run }, { kind: 'uncaught', id, run, failure: null }, { kind: 'progress', id, run, percent: 'half' },
      { kind: 'progress', id, run, percent: 1.5, note: null }, { kind: 'log', id, run }, { kind: 'calls', id, run, port: {} },
      { kind: 'started', id, run, thread: {} }, { kind: 'last_report', id, run },
      ...[5, '{broken', 'x'].map((result) => ({ kind: 'last_report', id, run, report: { progress: null, outcome: { kind: 'completed', result, artifacts: [] } } })),
      { kind: 'last_report', id, run, report: { progress: null, outcome: { kind: 'completed', result: '5', artifacts: [{}] } } },
      { kind: 'last_report', id, run, report: { progress: 7, outcome: { kind: 'failed', code: 'x', message: 'x' } } },
      { kind: 'last_report', id, run, report: { progress: null, outcome: { kind: 'none' } } }]) parentPort.postMessage(junk)
    await ctx.progress(1); throw new Error('posted') } }`,
  'types/again.mjs': `export default { retry_count: 2,
    run(_, ctx) { if (ctx.attempt < 3) throw Object.assign(new Error('again'), { retry_after_ms: 0 }); return ctx.attempt } }`,
  // Inside a native call, which not even terminate() ends.
  'types/native.mjs': `import { execSync } from 'node:child_process'
  export default { timeout: '60s', retry_count: 0, run() { execSync('sleep 20') } }`,
  // Takes the whole process down, as a crash in native code would.
  'types/kills.mjs': `export default { retry_count: 0, run() { process.kill(process.pid, 'SIGKILL'); for (;;); } }`,
  // Which thread ran it; leaves `leak` MiB behind on its heap.
  'types/thread.mjs': `import { threadId } from 'node:worker_threads'
  export default { retry_count: 0, run({ leak = 0 }) {
    globalThis.left ??= []
    for (let i = 0; i < leak * 8; i += 1) left.push(Array.from({ length: 16_384 }, () => i))
    return { thread: threadId }
  } }`,
  'types/exits.mjs': `export default { retry_count: 0, run() { process.exit(3) } }`,
  'types/returns_function.mjs': `export default { retry_count: 3, run: () => () => {} }`,
  'types/returns_bigint.mjs': `export default { retry_count: 3, run: () => ({ n: 10n }) }`,
  'types/returns_circle.mjs': `export default { retry_count: 3, run() { const a = {}; a.a = a; return a } }`,
  'types/returns_much.mjs': `export default { retry_count: 3, run: () => 'x'.repeat(3_000_000) }`,
  // Makes artifacts: { files: { name: text }, repeat?, at_end? } with `at_end` saying how the run goes on.
  'types/makes.mjs': `import { once } from 'node:events'
  import { pipeline } from 'node:stream/promises'
  export default { timeout: '20s', retry_count: 0, async run({ files, repeat = 1, content_type, at_end }, ctx) {
    for (const [name, text] of Object.entries(files)) {
      const options = content_type === undefined ? {} : { content_type }
      await pipeline(function* () { for (let i = 0; i < repeat; i += 1) yield text }, ctx.artifact(name, options))
    }
    if (at_end === 'throw') throw new Error('after the files')
    if (at_end === 'exit') process.exit(1)
    if (at_end === 'leave_open') ctx.artifact('open.txt').write('half')
    if (at_end === 'not_awaited') ctx.artifact('late.txt').end('x'.repeat(100_000))
    if (at_end === 'destroy') { const s = ctx.artifact('x'); s.end('x'.repeat(5_000_000)); s.destroy(); await once(s, 'close') }
    if (at_end === 'at_once') await Promise.all(Array.from({ length: 8 }, async (_, i) => {
      await pipeline(function* () { for (let j = 0; j < 16; j += 1) yield 'x'.repeat(65_536) }, ctx.artifact('f' + i))
    }))
    if (at_end === 'wait') await new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(new Error('stopped'))))
    return { made: Object.keys(files) }
  } }`,
  // Calls the main thread: { method, args } as the handler would write it; answers what it got.
  'types/calls.mjs': `import { text } from 'node:stream/consumers'
  export default { timeout: '20s', retry_count: 0, async run({ method, args = [] }, ctx) {
    const answer = (value) => JSON.parse(JSON.stringify(value))
    if (method === 'page_all') {
      const found = []
      let cursor = null
      do { const page = await ctx.jobs.page(args[0] ?? {}, cursor); found.push(...page.jobs.map(({ payload, result, ...job }) => ({ ...job, sizes: [JSON.stringify(payload).length, JSON.stringify(result).length] }))); cursor = page.next_cursor } while (cursor !== null)
      return answer(found)
    }
    if (method === 'prune_all') {
      const sum = { jobs: 0, bytes: 0, steps: 0 }
      let cursor = null
      do { const step = await ctx.jobs.prune(args[0], cursor); sum.jobs += step.jobs; sum.bytes += step.bytes; sum.steps += 1; cursor = step.next_cursor } while (cursor !== null)
      return sum
    }
    if (method === 'read_artifact') {
      const { stream, ...rest } = await ctx.openArtifact(...args)
      return { ...rest, text: await text(stream) }
    }
    if (method === 'count_for_ever') for (;;) await ctx.jobs.count({})
    if (method === 'submit_many') return answer(await Promise.all(Array.from({ length: args[0] }, () => ctx.submit(args[1]))))
    const [object, name = object] = method.split('.')
    return answer(await (object === name ? ctx[name](...args) : ctx[object][name](...args)))
  } }`,
  'types/returns_nothing.mjs': `export default { retry_count: 0, run() {} }`,
  'types/floods.mjs': `export default { retry_count: 0, timeout: '20s', async run(_, ctx) {
    for (let i = 0; i < 200_000; i += 1) { void ctx.progress(i / 2000, 'step ' + i); ctx.log('line ' + i) }
    await ctx.progress(99.6, 'the last')
    throw new Error('flooded') } }`,
}

/** The files of these types. */
export function typeFiles(names: string[]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(TYPES).filter(([file]) => names.includes(file.replace(/^types\/|\.mjs$/g, ''))),
  )
}

const folders = new Map<string, string>()
afterAll(() => {
  for (const folder of folders.values()) rmSync(dirname(folder), { recursive: true, force: true })
  folders.clear()
})

/** A folder of these files, the same for all tests of a file: what was loaded once is not tried again at each start. */
export function typeFolder(files: Record<string, string>): string {
  const key = JSON.stringify(files)
  const known = folders.get(key)
  if (known !== undefined) return known
  const folder = join(mkdtempSync(join(tmpdir(), 'jobmill-test-')), 'types')
  mkdirSync(folder)
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, basename(file)), text)
  folders.set(key, folder)
  return folder
}

/** Files that are no job types, each in its own way; none may harm the others. */
export const BROKEN_TYPES: Record<string, string> = {
  'types/broken_syntax.mjs': 'export default {',
  'types/broken_throws.mjs': `throw new Error('no database here')`,
  'types/broken_exits.mjs': 'process.exit(7)',
  'types/broken_hangs.mjs': 'for (;;);',
  'types/broken_waits.mjs': 'await new Promise(() => setInterval(() => {}, 1000))',
  'types/broken_late.mjs': `setTimeout(() => { throw new Error('soon after') }, 0); export default { run() {} }`,
  'types/broken name.mjs': 'export default { run() {} }',
  'types/broken_shape.mjs': `export default { handler() {} }`,
  'types/broken_payload.mjs': `export default { payload: { name: 'string' }, run() {} }`,
  'types/broken_payload_function.mjs': `export default { payload: () => { throw new Error('no schema today') }, run() {} }`,
  'types/broken_config.mjs': `export default { config: { x: 1 }, run() {} }`,
  'types/broken_getter.mjs': `export default { get timeout() { throw new Error('no timeout today') }, run() {} }`,
  'types/broken_concurrency.mjs': `export default { concurrency: 0, run() {} }`,
  'types/broken_limits.mjs': `export default { timeout: 'soon', run() {} }`,
  'types/broken_import.mjs': `import 'a-package-that-is-not-there'; export default { run() {} }`,
  'types/email.mjs': `export default { run() {} }`,
}
