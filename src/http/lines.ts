// Cuts a stream of bytes into the lines that end in it, with bounded memory however long a line is.
import { isUtf8 } from 'node:buffer'

/** One line without its end, or what is wrong with it. Numbers count from 1. */
export interface Line {
  number: number
  text: string | null
  /** Why there is no text. */
  problem: 'too_long' | 'not_utf8' | null
}

const NEWLINE = 0x0a

/** `most` is bytes of a line; what is beyond is dropped as it comes. */
export function createLines(most: number) {
  let carry: Buffer[] = []
  let carried = 0
  let number = 0

  function keep(piece: Buffer): void {
    carried += piece.length
    if (carried <= most) carry.push(piece)
    else carry = []
  }

  function finish(): Line {
    number += 1
    const line = carried > most ? null : Buffer.concat(carry)
    carry = []
    carried = 0
    if (line === null) return { number, text: null, problem: 'too_long' }
    if (!isUtf8(line)) return { number, text: null, problem: 'not_utf8' }
    return { number, text: line.toString('utf8'), problem: null }
  }

  return {
    /** The lines that end in this chunk. */
    *of(chunk: Buffer): Generator<Line> {
      let start = 0
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        keep(chunk.subarray(start, end))
        yield finish()
        start = end + 1
      }
      // Copied: the chunk it is part of may be large.
      if (start < chunk.length) keep(Buffer.from(chunk.subarray(start)))
    },
    /** What came after the last newline. */
    *rest(): Generator<Line> {
      if (carried > 0) yield finish()
    },
  }
}
