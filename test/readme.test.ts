// Runs what the README shows: every curl line against a real process, every answer, job type and configuration.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { freshFolder } from './support/folder.js'
import { launch, startProcess } from './support/process.js'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const blocks = [...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, text]) => ({
  language,
  text: String(text),
}))
const of = (language: string) => blocks.filter((block) => block.language === language).map(({ text }) => text)

/** The README's types, with the imports that a file elsewhere needs. */
function typeFiles() {
  const build = new URL('../dist/src/define-job.js', import.meta.url).href
  const greet = String(of('ts')[0])
    .replace("'zod'", `'${import.meta.resolve('zod')}'`)
    .replace("'../src/define-job.js'", `'${build}'`)
  return { 'types/greet.mjs': greet, 'types/fetch.mjs': String(of('js')[0]) }
}

/** The same names with values of the same kind; words of a fixed meaning have to be the same. */
function shape(value: unknown, name = ''): unknown {
  if (['type', 'status', 'reason', 'reason_detail', 'priority', 'attempt', 'max_attempts', 'timeout_ms'].includes(name))
    return value
  if (Array.isArray(value)) return value.map((item) => shape(item))
  if (value === null || typeof value !== 'object') return value === null ? null : typeof value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shape(inner, key)]))
}

describe('the README', () => {
  test('shows commands that work and answers that jobmill gives', async () => {
    const folder = freshFolder({ ...typeFiles(), 'config.yaml': { worker: { types: ['types'] } } })
    const { url, reaches } = await startProcess(folder)
    let last = { id: '', body: {} as unknown }
    let compared = 0
    for (const { language, text } of blocks) {
      if (language === 'sh' && text.startsWith('curl')) {
        for (const line of text.trim().split('\n')) {
          // Asking for a job is asking how it ended.
          if (/jobs\/JOB_ID$/.test(line)) await reaches(last.id, 'completed', 'failed')
          const command = line.replaceAll('http://localhost:8080', url).replaceAll('JOB_ID', last.id)
          const body = JSON.parse(
            execFileSync('sh', ['-c', `${command} --silent --fail-with-body`], { encoding: 'utf8' }),
          )
          last = { id: body.id ?? last.id, body }
        }
      }
      if (language === 'json') {
        expect(shape(last.body)).toEqual(shape(JSON.parse(text)))
        compared += 1
      }
    }
    expect(compared).toBe(3)
    expect(await reaches(last.id, 'completed', 'failed')).toMatchObject({
      type: 'greet',
      result: { greeting: 'Hello, Ada' },
    })
  })

  test('shows configurations that are valid', async () => {
    expect(of('yaml').length).toBeGreaterThanOrEqual(3)
    for (const yaml of of('yaml')) {
      const { exit, errors } = launch(
        freshFolder({
          'config.yaml': yaml,
          'my-types/fetch.js': String(of('js')[0]),
          'my-types/package.json': { type: 'module' },
        }),
        ['--check-config'],
      )
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
    const folder = freshFolder({ ...typeFiles(), 'config.yaml': { worker: { types: ['types'] } } })
    const { url, submit, reaches } = await startProcess(folder)
    const { id } = await submit({ type: 'fetch', payload: { url: `${url}/livez` } })
    expect((await reaches(id, 'completed', 'failed')).result).toEqual({ status: 200 })
  })

  test('names only commands of package.json', () => {
    const { scripts } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
    for (const line of of('sh').filter((text) => text.startsWith('npm'))) {
      const [, name = ''] = /npm (?:run )?(\w+)\s*$/.exec(line) ?? []
      expect(Object.keys(scripts)).toContain(name)
    }
  })
})
