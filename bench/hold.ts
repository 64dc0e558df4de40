// How long a piece of work holds the event loop at the most.

/** Milliseconds between two turns of the event loop, the longest while `work` goes on. */
export async function longestHold(work: () => Promise<unknown>): Promise<number> {
  let longest = 0
  let last = performance.now()
  let going = true
  const turn = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (going) setImmediate(turn)
  }
  setImmediate(turn)
  await work()
  going = false
  await new Promise(setImmediate)
  return longest
}
