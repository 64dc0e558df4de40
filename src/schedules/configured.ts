// The schedules and digests of config.yaml: what is wrong with them, before anything is started.
import type { Config } from '../config.js'
import { ConfigError, type Problem } from '../config-file.js'
import { digestPath, digestSchedules } from '../digests/digests.js'
import { digestOf } from '../digests/events.js'
import { ServiceError } from '../errors.js'
import type { SubmissionRules } from '../submission.js'
import { SYSTEM_PREFIX } from '../upkeep/system-schedules.js'
import { readPlan, SCHEDULE_NAME } from './plan.js'

type Path = (string | number)[]

/** @throws ConfigError with all that is wrong; a type that is disabled at this start is not */
export function checkSchedules({ schedules, digests, locate }: Config, rules: SubmissionRules, now: number): void {
  const problem = (path: Path, message: string): Problem => ({ key: path.join('.'), where: locate(path), message })
  const ofSchedules = Object.entries(schedules).flatMap(([name, body]) => {
    const at = ['schedules', name]
    const wrong = nameProblem(name)
    if (wrong !== null) return [problem(at, wrong)]
    return findings(body, rules, now).map(({ path, message }) => problem([...at, ...path], message))
  })
  const ofDigests = Object.entries(digestSchedules(digests)).flatMap(([name, body]) => {
    const at = ['digests', digestOf(name) ?? name]
    return findings(body, rules, now).map(({ path, message }) => problem([...at, ...digestPath(path)], message))
  })
  const problems = [...ofSchedules, ...ofDigests]
  if (problems.length > 0) throw new ConfigError(problems)
}

function nameProblem(name: string): string | null {
  if (!SCHEDULE_NAME.test(name)) return 'must have a name of 1 to 64 letters, digits and ._-'
  if (name.startsWith(SYSTEM_PREFIX)) return `must not begin with ${SYSTEM_PREFIX}, as jobmill's own do`
  return digestOf(name) === null ? null : 'must not begin with digest., as those of digests do'
}

function findings(body: unknown, rules: SubmissionRules, now: number): { path: Path; message: string }[] {
  try {
    readPlan(body, rules, now, true)
    return []
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    if (error.errors === undefined) return [{ path: [], message: error.message }]
    return error.errors.map(({ pointer, detail }) => ({ path: stepsOf(pointer), message: detail }))
  }
}

/** Of a JSON Pointer (RFC 6901); numbers are places in lists. */
function stepsOf(pointer: string): Path {
  const steps = pointer.split('/').slice(1)
  return steps
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step))
}
