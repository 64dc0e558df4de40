// A client of live events that is not ours, and what it saw.
import { EventSource } from 'eventsource'
import { onTestFinished } from 'vitest'
import { until } from './until.js'

interface Seen {
  event: string
  id: string
  data: Record<string, unknown>
}

/** Everything that came, in its order, and how the last connection ended. */
export function watch(url: string, lastEventId?: string) {
  const seen: Seen[] = []
  const failures: (number | undefined)[] = []
  const source = new EventSource(url, {
    fetch(input, init) {
      const headers = new Headers(init.headers)
      if (lastEventId !== undefined && !headers.has('last-event-id')) headers.set('last-event-id', lastEventId)
      return fetch(input, { ...init, headers })
    },
  })
  onTestFinished(() => source.close())
  for (const event of ['message', 'reset', 'done', 'goodbye'])
    source.addEventListener(event, ({ data, lastEventId: id }) => void seen.push({ event, id, data: JSON.parse(data) }))
  source.addEventListener('error', ({ code }) => void failures.push(code))
  return {
    source,
    seen,
    failures,
    statuses: () => seen.map(({ event, data: { status } }) => (event === 'message' ? status : event)),
    comes: (event: string) => until(`${event} comes`, () => seen.find((one) => one.event === event)),
    opened: () => until('it is open', () => source.readyState === source.OPEN),
  }
}
