// Runs what the README shows: every curl line against a real process, every answer, job type and configuration.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { freshFolder } from './support/folder.js'
import { launch, startProcess } from './support/process.js'
import { until } from './support/until.js'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const blocks = [...readme.matchAll(/^```(\w+)( part)?\n(.*?)^```$/gms)].map(([, language, part, text]) => ({
  language,
  /** Whether the answer has more than is shown. */
  part: part !== undefined,
  text: String(text),
}))
const of = (language: string) => blocks.filter((block) => block.language === language).map(({ text }) => text)

/** The README's types, by the names that it gives them; with the imports that a file elsewhere needs. */
function typeFiles() {
  const build = new URL('../dist/src/define-job.js', import.meta.url).href
  const greet = String(of('ts')[0])
    .replace("'zod'", `'${import.meta.resolve('zod')}'`)
    .replace("'../src/define-job.js'", `'${build}'`)
  const named = of('js').map((text) => [/^\/\/ (\S+)/.exec(text)?.[1], text])
  return { 'my-types/greet.mjs': greet, ...Object.fromEntries(named) }
}

/** The same names with values of the same kind; words of a fixed meaning have to be the same. */
function shape(value: unknown, name = ''): unknown {
  if (
    [
      'type',
      'status',
      'reason',
      'reason_detail',
      'priority',
      'attempt',
      'max_attempts',
      'timeout_ms',
      'interruptions',
      'found',
      'outcome',
    ].includes(name)
  )
    return value
  if (Array.isArray(value)) return value.map((item) => shape(item))
  if (value === null || typeof value !== 'object') return value === null ? null : typeof value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shape(inner, key)]))
}

describe('the README', () => {
  test('is a walk-through that works: commands, answers, types, a cancel and a kill -9', async () => {
    const { digests } = parse(String(of('yaml').find((text) => text.startsWith('digests:'))))
    const settings = { worker: { types: ['my-types'], cancel_grace: 1 }, digests }
    const folder = freshFolder({ ...typeFiles(), 'config.yaml': settings })
    let service = await startProcess(folder)
    let last = { id: '', text: '' }
    let compared = 0

    async function curl(line: string): Promise<void> {
      // Asking for a job is asking how it ended.
      if (/jobs\/JOB_ID$/.test(line)) await ended()
      if (/\/cancel/.test(line)) await service.reaches(last.id, 'processing', 'scheduled')
      const command = line.replaceAll('http://localhost:8080', service.url).replaceAll('JOB_ID', last.id)
      const text = execFileSync('sh', ['-c', `${command} --silent --fail-with-body`], { encoding: 'utf8' })
      last = { id: text.startsWith('{') ? (JSON.parse(text.split('\n')[0] ?? '').id ?? last.id) : last.id, text }
    }

    /** One of them counts primes for as long as the machine takes. */
    const ended = () =>
      until(
        'it has ended',
        async () => ['completed', 'failed', 'cancelled'].includes((await service.get(last.id)).status),
        150_000,
      )

    async function kill(): Promise<void> {
      await until('it works', async () => (await service.get(last.id)).progress > 0)
      await service.kill('SIGKILL')
      service = await startProcess(folder)
    }

    for (const { language, text, part } of blocks) {
      if (language === 'sh' && /^(curl|printf) /.test(text))
        for (const line of text.trim().split('\n')) await curl(line)
      if (language === 'sh' && text.startsWith('kill -9')) await kill()
      if (language === 'csv') expect(last.text.split('\r\n')[0]).toBe(text.trim())
      if (language === 'json') {
        const [answer, shown] = [shape(JSON.parse(last.text)), shape(JSON.parse(text))]
        if (part) expect(answer).toMatchObject(shown as object)
        else expect(answer).toEqual(shown)
      }
      if (language === 'json' || language === 'csv') compared += 1
    }
    expect(compared).toBe(13)
  }, 240_000)

  test('shows configurations that are valid', async () => {
    expect(of('yaml').length).toBeGreaterThanOrEqual(3)
    for (const yaml of of('yaml')) {
      const { exit, errors } = launch(freshFolder({ ...typeFiles(), 'config.yaml': yaml }), ['--check-config'])
      expect([(await exit).code, errors()]).toEqual([0, ''])
    }
  })

  test('shows all defaults as they are', async () => {
    const { loadConfig } = await import('../src/config.js')
    const shown = of('yaml').find((text) => text.includes('body_limit')) as string
    const folder = freshFolder({ 'config.yaml': shown, 'empty.yaml': '' })
    const load = (file: string) => {
      const { locate, file: _, jobs: __, ...config } = loadConfig({ cwd: folder, env: {}, file })
      return config
    }
    expect(load('config.yaml')).toEqual(load('empty.yaml'))
  })

  test('shows a job type for folders of one’s own that runs', async () => {
    const folder = freshFolder({ ...typeFiles(), 'config.yaml': { worker: { types: ['my-types'] } } })
    const { url, submit, reaches } = await startProcess(folder)
    const { id } = await submit({ type: 'fetch', payload: { url: `${url}/readyz` } })
    expect((await reaches(id, 'completed', 'failed')).result).toEqual({ status: 200 })
    expect(await (await fetch(`${url}/jobs/${id}/artifacts/answer.txt`)).json()).toEqual({ status: 'ready' })
  })

  test('names only commands of package.json', () => {
    const { scripts } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
    const named = of('sh').flatMap((text) =>
      [...text.matchAll(/npm (?:run )?(?!ci\b)([\w:]+)/g)].map(([, name]) => name),
    )
    expect(named).toContain('test:faults')
    for (const name of named) expect(Object.keys(scripts)).toContain(name)
  })
})
