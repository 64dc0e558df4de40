// The text of a digest's mail: how many events there were of each kind, and what each said.
import { timestamp } from '../job.js'
import type { DigestContent, DigestEvent } from './events.js'

export const countOf = ({ events, unlisted }: DigestContent): number => events.length + unlisted

/** How many there are of each kind, by its name. */
export function countsOf({ events }: DigestContent): Map<string, number> {
  return new Map([...byKind(events)].map(([kind, { length }]) => [kind, length]))
}

export function mailText(content: DigestContent): string {
  const { events, unlisted } = content
  const [first] = events
  const since = first === undefined ? '' : ` since ${timestamp(first.created_at)}`
  const total = countOf(content)
  const summary = [...countsOf(content)].map(([kind, count]) => `${kind}: ${count}`)
  const lists = [...byKind(events)].map(([kind, some]) => [`${kind} (${some.length})`, ...some.map(line)].join('\n'))
  const more = unlisted === 0 ? [] : [`There was no room for ${unlisted} further ${plural(unlisted)}.`]
  const parts = [`${total} ${plural(total)}${since}`, summary.join('\n'), ...lists, ...more]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

function byKind(events: readonly DigestEvent[]): Map<string, DigestEvent[]> {
  const kinds = new Map<string, DigestEvent[]>()
  for (const event of events) {
    const known = kinds.get(event.kind)
    if (known === undefined) kinds.set(event.kind, [event])
    else known.push(event)
  }
  return new Map([...kinds].sort(([a], [b]) => (a < b ? -1 : 1)))
}

const line = ({ created_at, text }: DigestEvent) => `  ${timestamp(created_at)}  ${text}`
const plural = (n: number) => (n === 1 ? 'event' : 'events')
