// The schedules of config.yaml: what is wrong with them, before anything is started.
import type { Config } from '../config.js'
import { ConfigError, type Problem } from '../config-file.js'
import { ServiceError } from '../errors.js'
import type { SubmissionRules } from '../submission.js'
import { SYSTEM_PREFIX } from '../upkeep/system-schedules.js'
import { readPlan, SCHEDULE_NAME } from './plan.js'

/** @throws ConfigError with all that is wrong; a type that is disabled at this start is not */
export function checkSchedules({ schedules, locate }: Config, rules: SubmissionRules, now: number): void {
  const problems = Object.entries(schedules).flatMap(([name, body]) => {
    const problem = (path: (string | number)[], message: string): Problem => {
      const at = ['schedules', name, ...path]
      return { key: at.join('.'), where: locate(at), message }
    }
    if (!SCHEDULE_NAME.test(name)) return [problem([], 'must have a name of 1 to 64 letters, digits and ._-')]
    if (name.startsWith(SYSTEM_PREFIX))
      return [problem([], `must not begin with ${SYSTEM_PREFIX}, as jobmill's own do`)]
    return findings(body, rules, now).map(({ pointer, detail }) => problem(stepsOf(pointer), detail))
  })
  if (problems.length > 0) throw new ConfigError(problems)
}

function findings(body: unknown, rules: SubmissionRules, now: number) {
  try {
    readPlan(body, rules, now, true)
    return []
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    return error.errors ?? [{ pointer: '', detail: error.message }]
  }
}

/** Of a JSON Pointer (RFC 6901); numbers are places in lists. */
function stepsOf(pointer: string): (string | number)[] {
  const steps = pointer.split('/').slice(1)
  return steps
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step))
}
