// A throwaway thread: imports files of job types, so that one that throws, hangs or exits does so here.
import { setTimeout } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'

/** What a file starts while it loads may fail a little later; in the main thread that would end the service. */
const SETTLING_MS = 50

await Promise.all(workerData.urls.map((url: string) => import(url)))
await setTimeout(SETTLING_MS)
parentPort?.postMessage('loaded')
