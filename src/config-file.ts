// Where settings come from (a YAML file, the environment, arguments), and what is said about a wrong one.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { isMap, isNode, isPair, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'
import { inspect, nearest, ownValue } from './explain.js'

type Path = readonly (string | number)[]

export interface Problem {
  /** Dotted path of the setting; "" where a whole file or variable is meant. */
  key: string
  /** Who set it: "config.yaml:14", "JOBMILL_SERVER__PORT" or "--port". */
  where: string
  message: string
}

/** Thrown with everything that is wrong at once, sorted by line; `message` has a line for each problem. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    const sorted = problems.toSorted((a, b) => a.where.localeCompare(b.where, 'en', { numeric: true }))
    super(sorted.map(({ where, key, message }) => [where, key, message].filter(Boolean).join(': ')).join('\n'))
    this.problems = sorted
  }
}

export interface SourceOptions {
  /** The file that was asked for, relative to `cwd`. It wins over `JOBMILL_CONFIG`; either has to exist. */
  file?: string | undefined
  env: NodeJS.ProcessEnv
  cwd: string
  /** Values of `--host` and `--port`; they win over everything. */
  overrides?: { host?: string | undefined; port?: string | undefined }
}

export interface Source {
  /** Absolute path of the file; null where there is none. */
  file: string | null
  /** The settings of all sources in one, not checked yet. */
  value: unknown
  problems: Problem[]
  /** Who set the value at `path` or, where nobody did, what would hold it. */
  locate(path: Path): string
}

/** Reads the file, then lays the environment and the arguments over it. Throws nothing: see `problems`. */
export function readSource({ file, env, cwd, overrides = {} }: SourceOptions): Source {
  const asked = file ?? (env.JOBMILL_CONFIG || undefined)
  const label = asked ?? 'config.yaml'
  const absolute = resolve(cwd, label)
  const problems: Problem[] = []

  const text = readText(absolute, label, asked !== undefined, problems)
  const { value, lines } = parseYaml(text ?? '', [], (line) => `${label}:${line}`, problems)
  const layers = [...fromEnvironment(env, problems), ...fromArguments(overrides)]

  const locate = (path: Path): string => {
    const line = lines.get(JSON.stringify(path))
    const above = layers.findLast((layer) => startsWith(path, layer.path))
    if (above !== undefined) return above.name
    if (line !== undefined) return `${label}:${line}`
    if (path.length === 0) return label
    return layers.find((layer) => startsWith(layer.path, path))?.name ?? locate(path.slice(0, -1))
  }
  return { file: text === null ? null : absolute, value: layOver(value, layers, problems), problems, locate }
}

function startsWith(path: Path, start: Path): boolean {
  return start.every((key, i) => key === path[i])
}

function readText(file: string, label: string, required: boolean, problems: Problem[]): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    const message = missing ? 'there is no such file' : `cannot be read: ${firstLine(error)}`
    if (required || !missing) problems.push({ key: '', where: label, message })
    return null
  }
}

/** Plain data, and the line of each key by its path as JSON. A text with problems counts as empty. */
function parseYaml(text: string, path: Path, where: (line: number) => string, problems: Problem[]) {
  const lines = new Map<string, number>()
  const own: Problem[] = []
  const report = (line: number, message: string, at = path) =>
    own.push({ key: at.join('.'), where: where(line), message })
  let value: unknown = null
  try {
    const lineCounter = new LineCounter()
    const lineAt = (offset: number) => lineCounter.linePos(offset).line
    const document = parseDocument(text, { ...YAML_OPTIONS, lineCounter })
    for (const { code, pos, message } of [...document.errors, ...document.warnings])
      report(lineAt(pos[0]), code === 'MULTIPLE_DOCS' ? 'must be a single YAML document' : `not valid YAML: ${message}`)
    for (const entry of entriesOf(document.contents, path)) {
      const line = lineAt(entry.offset)
      lines.set(JSON.stringify(entry.path), line)
      // Objects treat this one specially, so that schemas and copies would lose it without a word.
      if (entry.path.at(-1) === '__proto__') report(line, 'unknown key', entry.path)
    }
    value = document.toJS()
    JSON.stringify(value) // throws where an alias stands inside of what it stands for
  } catch (error) {
    if (own.length === 0) report(1, `cannot be read: ${firstLine(error)}`)
  }
  problems.push(...own)
  return { value: own.length === 0 ? value : null, lines }
}

/** Without tags, dates and keys that are no texts, all that a document can hold is what JSON has, NaN and infinity. */
const YAML_OPTIONS = {
  schema: 'core',
  stringKeys: true,
  resolveKnownTags: false,
  prettyErrors: false,
  logLevel: 'error',
} as const

function* entriesOf(node: unknown, path: Path): Generator<{ path: Path; offset: number }> {
  if (!isMap(node) && !isSeq(node)) return
  for (const [i, item] of node.items.entries()) {
    const [mark, value] = isPair(item) ? [item.key, item.value] : [item, item]
    const inner = [...path, isPair(item) && isScalar(mark) ? String(mark.value) : i]
    yield { path: inner, offset: (isNode(mark) && mark.range?.[0]) || 0 }
    yield* entriesOf(value, inner)
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\n.*/s, '')
}

/** A value that is laid over the file's, and the variable or argument that it comes from. */
interface Layer {
  name: string
  path: string[]
  value: unknown
}

/** `JOBMILL_A__B__C` sets a.b.c to what its text means in YAML. */
function fromEnvironment(env: NodeJS.ProcessEnv, problems: Problem[]): Layer[] {
  const names = Object.keys(env).filter((name) => name.startsWith('JOBMILL_') && !isReserved(name))
  return names.toSorted().flatMap((name) => {
    const path = name.slice('JOBMILL_'.length).toLowerCase().split('__')
    const before = problems.length
    if (path.length === 1) problems.push({ key: '', where: name, message: hintFor(name) })
    const { value } = parseYaml(env[name] ?? '', path, () => name, problems)
    return problems.length === before ? [{ name, path, value }] : []
  })
}

function isReserved(name: string): boolean {
  return name === 'JOBMILL_CONFIG' || name === 'JOBMILL_API_KEY' || name.startsWith('JOBMILL_TEST_')
}

function hintFor(unknown: string): string {
  const near = nearest(unknown, ['JOBMILL_CONFIG', 'JOBMILL_API_KEY'])
  if (near !== null) return `unknown variable, did you mean "${near}"?`
  return 'unknown variable, a setting is written like JOBMILL_WORKER__MAX_WORKERS'
}

function fromArguments({ host, port }: NonNullable<SourceOptions['overrides']>): Layer[] {
  const number = port !== undefined && /^\d+$/.test(port) ? Number(port) : port
  return [
    { name: '--host', path: ['server', 'host'], value: host },
    { name: '--port', path: ['server', 'port'], value: number },
  ].filter(({ value }) => value !== undefined)
}

function layOver(value: unknown, layers: Layer[], problems: Problem[]): unknown {
  return layers.reduce((below, { name, path, value }) => {
    const laid = withValue(below, path, value)
    if (laid === null) problems.push({ key: path.join('.'), where: name, message: 'lies inside a value without keys' })
    return laid ?? below
  }, value)
}

/** A copy of `target` with `value` at `path`; null where something other than a mapping is in the way. */
function withValue(target: unknown, [key, ...rest]: string[], value: unknown): object | null {
  const mapping = target ?? {}
  if (key === undefined || typeof mapping !== 'object' || Array.isArray(mapping)) return null
  if (rest.length === 0) return { ...mapping, [key]: value }
  const inner = withValue(ownValue(mapping, key), rest, value)
  return inner && { ...mapping, [key]: inner }
}

/** Checks `value`, which stands at `path` of the settings; `config` only has to know who set what. */
export function checkAt<S extends z.ZodType>(config: Pick<Source, 'locate'>, path: Path, schema: S, value: unknown) {
  const result = inspect(schema, value)
  if (result.ok) return result
  const problems = result.findings.map(({ path: inner, message }): Problem => {
    const at = [...path, ...inner]
    return { key: at.join('.'), where: config.locate(at), message }
  })
  return { ok: false, problems } as const
}
