// The threads themselves: Piscina, built anew with growing pauses where threads die before they can run anything.
import type { Worker } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { BUILD } from '../build.js'
import type { Report, Task, ThreadData } from './protocol.js'

/** The highest `max_workers`: there is room for so many threads, and never more tasks than there are slots. */
export const MAX_THREADS = 512
/** V8's own default lets every busy thread hold up to 48 MB of garbage. */
const YOUNG_MB = 4
/** Pauses between tries to get a thread that starts: doubled up to the last. */
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 30_000
/** A thread that takes longer to start is taken for dead. */
const START_LIMIT_MS = 15_000
const SECOND_LOOK_MS = 250

export interface ThreadsOptions {
  min_threads: number
  /** Milliseconds after which an idle thread above `min_threads` leaves. */
  idle_ms: number
  /** Heap of one thread in MiB. */
  max_old_generation_mb: number
  data: ThreadData
  onMessage(message: unknown, thread: Worker): void
  /** Threads die at start, and why; or null: they start again. Told once for each change. */
  onFailure(failure: string | null): void
}

/** A task on its way to a thread. */
export interface Errand {
  task: Task
  /** Aborting it terminates the thread that runs the task. */
  kill: AbortController
  /** Whether a thread has begun the task. */
  begun: boolean
}

export interface Threads {
  /** Rejects where the thread dies or is killed; `begun` then tells whether the task may be the cause. */
  run(errand: Errand): Promise<Report>
  /** A thread has begun it. */
  began(errand: Errand): void
  /** Alive or starting. */
  count(): number
  /** Why no thread can be started, or null. */
  failure(): string | null
  /** Resolves when a first thread has started, or could not. */
  proved(): Promise<void>
  stop(): Promise<void>
}

export function createThreads(options: ThreadsOptions): Threads {
  /** Those that were given up keep their threads until what they run has ended. */
  const crews = new Set<Crew>()
  let failing: string | null = null
  let pause = FIRST_PAUSE_MS
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  let last_begun = 0
  let current: Crew | null = null
  const proved = gather()

  /** Resolves when it is known whether threads start. */
  function gather(): Promise<void> {
    const crew = createCrew(options)
    current = crew
    crews.add(crew)
    // Without a task on its hands a thread fails only while it starts: idle ones do not turn.
    crew.piscina.on('error', (error: unknown) => giveUp(crew, messageOf(error)))
    return prove(crew)
  }

  /** Piscina takes its first threads for ready when it has only begun to start them. */
  async function prove(crew: Crew): Promise<void> {
    try {
      await crew.piscina.run(null, { signal: AbortSignal.timeout(START_LIMIT_MS) })
      if (crew !== current) return
      pause = FIRST_PAUSE_MS
      if (failing !== null) tell(null)
    } catch (error) {
      giveUp(crew, messageOf(error))
    }
  }

  function tell(failure: string | null): void {
    failing = failure
    options.onFailure(failure)
  }

  /** What it runs may end there; what waits for one of its threads would wait for ever. */
  function giveUp(crew: Crew, why: string): void {
    if (crew !== current || stopped) return
    current = null
    for (const { begun, kill } of crew.errands) if (!begun) kill.abort()
    dismiss(crew)
    if (failing === null) tell(`threads end while they start: ${why}`)
    timer = setTimeout(gather, pause)
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
  }

  function dismiss(crew: Crew): void {
    if (crew === current || crew.errands.size > 0) return
    crews.delete(crew)
    void disband(crew)
  }

  async function run(errand: Errand): Promise<Report> {
    const crew = current
    if (crew === null) throw new Error('no thread can be started')
    crew.errands.add(errand)
    const watchdog = setInterval(overdue, START_LIMIT_MS, crew, errand)
    try {
      // Only a call without a task answers null.
      return (await crew.piscina.run(errand.task, { signal: errand.kill.signal })) as Report
    } catch (error) {
      if (!errand.begun && !errand.kill.signal.aborted) giveUp(crew, messageOf(error))
      throw error
    } finally {
      clearInterval(watchdog)
      crew.errands.delete(errand)
      dismiss(crew)
    }
  }

  /**
   * Hundreds of threads at once start one after another: nothing is wrong as long as some do. After a machine's sleep
   * the timer comes before the message that the task was begun: it gets a second look.
   */
  function overdue(crew: Crew, errand: Errand): void {
    setTimeout(() => {
      const some_begin = performance.now() - last_begun < START_LIMIT_MS
      if (errand.begun || some_begin || !crew.errands.has(errand)) return
      giveUp(crew, `none was ready within ${START_LIMIT_MS / 1_000} s`)
    }, SECOND_LOOK_MS)
  }

  const threads = () => [...crews].flatMap(({ piscina }) => piscina.threads)
  return {
    run,
    began(errand) {
      errand.begun = true
      last_begun = performance.now()
    },
    count: () => threads().length,
    failure: () => failing,
    proved: () => proved,
    async stop() {
      stopped = true
      clearTimeout(timer)
      await Promise.all([...crews].map(disband))
    },
  }
}

/** One Piscina, and what it was given to run. */
interface Crew {
  piscina: Piscina<Task | null, Report | null>
  errands: Set<Errand>
}

function createCrew({ min_threads, idle_ms, max_old_generation_mb, data, onMessage }: ThreadsOptions): Crew {
  const piscina = new Piscina<Task | null, Report | null>({
    filename: new URL('src/pool/entry.cjs', BUILD).href,
    minThreads: min_threads,
    maxThreads: MAX_THREADS,
    idleTimeout: idle_ms,
    resourceLimits: { maxOldGenerationSizeMb: max_old_generation_mb, maxYoungGenerationSizeMb: YOUNG_MB },
    workerData: data,
  })
  // Piscina's own event does not tell which thread a message came from; before this one no handler is loaded.
  piscina.on('workerCreate', ({ id }) => {
    const thread = piscina.threads.find(({ threadId }) => threadId === id)
    thread?.on('message', (message) => onMessage(message, thread))
  })
  return { piscina, errands: new Set() }
}

async function disband({ piscina }: Crew): Promise<void> {
  // A thread that ends after its pool would be replaced.
  piscina.options.minThreads = 0
  await piscina.destroy()
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
