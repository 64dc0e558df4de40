// The log: one line for each event, as JSON, never with a payload or a result.
import { type DestinationStream, type Logger, pino } from 'pino'
import type { EventBus, ServiceEvent } from './events.js'
import type { Job } from './job.js'

export type { Logger } from 'pino'

/** Standard output, written without holding up the event loop; `flushSync()` writes what is left before the process ends. */
export function standardOutput() {
  return pino.destination({ fd: 1, sync: false })
}

export function createLogger(destination: DestinationStream): Logger {
  return pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
}

export function logEvents(bus: EventBus, log: Logger): void {
  bus.subscribe((event) => write(log, event))
}

function write(log: Logger, event: ServiceEvent): void {
  switch (event.kind) {
    case 'job':
      // A batch is one line, below: its jobs come by the hundred thousand.
      if (event.verb === 'submit' && event.job.batch_id !== null) return
      log[event.verb === 'fail' ? 'warn' : 'info'](fieldsOf(event.job), `job ${event.verb}`)
      return
    case 'batch':
      log.info({ batch: event.id, jobs: event.jobs }, 'jobs of a batch submitted')
      return
    case 'cancel_requested':
      log.info(fieldsOf(event.job), 'job cancel_requested')
      return
    case 'progress':
      log.debug({ id: event.id, run: event.run, progress: event.progress }, 'job progress')
      return
    case 'job_log':
      log.info({ id: event.id, run: event.run, line: event.message }, 'job log')
      return
    case 'stop_wanted':
      log.info({ id: event.id, run: event.run }, 'run is to stop')
      return
    case 'pruned':
      log.info({ jobs: event.ids.length, bytes: event.bytes }, 'jobs pruned')
      return
    case 'late_outcome':
      log.warn({ id: event.id, run: event.run, outcome: event.outcome }, 'late outcome changed nothing')
      return
    case 'store_trouble':
      log.error({ doing: event.doing, error: event.message }, 'store trouble')
      return
    case 'schedule':
      log.info({ schedule: event.name }, `schedule ${event.verb}`)
      return
    case 'ticks':
      log.info({ schedule: event.name, ran: event.ran, skipped: event.skipped }, 'schedule ticks')
      return
    case 'pauses':
      log.info({ all: event.all, types: event.types }, 'pauses changed')
      return
    case 'threads':
      if (event.failure === null) log.info('threads start again')
      else log.error({ error: event.failure }, 'no jobs are run')
      return
    case 'disk_space':
      log[event.well ? 'info' : 'error']({ detail: event.message }, 'disk space')
      return
    case 'gap':
      log.info('what other nodes told may have been missed: looking at all of it')
      return
    case 'job_elsewhere':
    case 'elsewhere':
    case 'disk_full':
    case 'loop':
    case 'refused':
      return
    default: {
      const { kind, message, ...fields } = event
      log.error({ ...fields, error: message }, kind.replace('_', ' '))
    }
  }
}

function fieldsOf(job: Job) {
  const { id, type, status, attempt, run, reason, slot } = job
  return { id, type, status, attempt, run, reason, ...(slot === null ? {} : { slot }), ...errorOf(job) }
}

function errorOf({ error }: Job) {
  return error === null ? {} : { code: error.code, error: error.message }
}
