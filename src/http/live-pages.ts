// Pages that keep themselves up to date: each is rendered once a second, however many look at it, and not at all without.
import type { Response } from 'express'
import type { EventBus } from '../events.js'
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

/** `path` names what is rendered: with the same one, all see the same. */
export type FollowPage = (res: Response, path: string, render: Render) => void

export function createLivePages(streams: Streams, bus: EventBus): FollowPage {
  const pages = new Map<string, Live>()

  return (res, path, render) => {
    const page = pages.get(path) ?? { watchers: new Set(), last: null }
    const stream = streams.open(res, () => {
      page.watchers.delete(stream)
    })
    page.watchers.add(stream)
    if (page.last !== null) stream.send({ id: '', data: page.last })
    if (pages.get(path) === page) return
    pages.set(path, page)
    void keepUp(path, page, render)
  }

  async function keepUp(path: string, page: Live, render: Render): Promise<void> {
    try {
      for (let over = false; page.watchers.size > 0 && !over; ) {
        over = await tell(page, render)
        if (!over) await new Promise((resolve) => setTimeout(resolve, PERIOD_MS).unref())
      }
    } catch (error) {
      const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined }
      bus.publish({ kind: 'request_failed', method: 'GET', path, message, stack })
    }
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
