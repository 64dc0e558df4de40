// Pages that keep themselves up to date: each is rendered once a second, or sooner where what it shows has changed, for all
// who look at it, and not at all without.
import type { Response } from 'express'
import type { EventBus } from '../events.js'
import { createGate } from '../gate.js'
import type { Html } from '../ui/fragment.js'
import type { Stream, Streams } from './streams.js'

export interface Rendering {
  body: Html
  /** It does not change any more. */
  over: boolean
}

type Render = () => Promise<Rendering>

interface Live {
  watchers: Set<Stream>
  last: string | null
}

const PERIOD_MS = 1_000
/** What changes more often is shown as it is then. */
const SHORTEST_MS = 150

/** Calls `changed` whenever what a page shows has changed. Returns the way out. */
export type Watch = (changed: () => void) => () => void

/** `path` names what is rendered: with the same one, all see the same. */
export type FollowPage = (res: Response, path: string, render: Render, watch?: Watch) => void

const NEVER: Watch = () => () => {}

export function createLivePages(streams: Streams, bus: EventBus, period_ms = PERIOD_MS): FollowPage {
  const pages = new Map<string, Live>()

  return (res, path, render, watch = NEVER) => {
    const page = pages.get(path) ?? { watchers: new Set(), last: null }
    const stream = streams.open(res, () => {
      page.watchers.delete(stream)
    })
    page.watchers.add(stream)
    if (page.last !== null) stream.send({ id: '', data: page.last })
    if (pages.get(path) === page) return
    pages.set(path, page)
    void keepUp(path, page, render, watch)
  }

  async function keepUp(path: string, page: Live, render: Render, watch: Watch): Promise<void> {
    let change = createGate()
    const leave = watch(() => change.resolve())
    try {
      for (let over = false; page.watchers.size > 0 && !over; ) {
        change = createGate()
        over = await tell(page, render)
        if (over) break
        await sleep(SHORTEST_MS)
        await Promise.race([change.promise, sleep(period_ms - SHORTEST_MS)])
      }
    } catch (error) {
      const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined }
      bus.publish({ kind: 'request_failed', method: 'GET', path, message, stack })
    }
    leave()
    pages.delete(path)
    for (const stream of page.watchers) stream.end()
  }

  /** Answers whether this was the last time. */
  async function tell(page: Live, render: Render): Promise<boolean> {
    const { body, over } = await render()
    const text = String(body)
    for (const stream of page.watchers) {
      if (text !== page.last) stream.send({ id: '', data: text })
      if (over) stream.send({ id: '', event: 'done', data: '{}' })
    }
    page.last = text
    return over
  }
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref())
