// Counts primes, and draws how they thin out: work that shows its progress, with a picture at the end.
import { setImmediate } from 'node:timers/promises'

const STEPS = 100

export default {
  description: 'Count the primes up to a number',
  timeout: '60s',
  retry_count: 0,
  async run({ up_to }, ctx) {
    const most = Number(up_to)
    if (!Number.isSafeInteger(most) || most < 1_000 || most > 50_000_000)
      throw new Error('up_to must be a whole number from 1000 to 50000000')
    const shares = []
    let primes = 0
    for (let step = 0; step < STEPS; step += 1) {
      ctx.signal.throwIfAborted()
      const [from, to] = [Math.floor((most * step) / STEPS), Math.floor((most * (step + 1)) / STEPS)]
      const found = count(from, to)
      primes += found
      shares.push(found / (to - from))
      await ctx.progress(step + 1, `${to.toLocaleString('en')} numbers`)
      await setImmediate()
    }
    ctx.artifact('primes.svg', { content_type: 'image/svg+xml' }).end(draw(shares))
    return { primes }
  },
}

function count(from, to) {
  let found = 0
  for (let n = Math.max(2, from); n < to; n += 1) if (isPrime(n)) found += 1
  return found
}

function isPrime(n) {
  for (let divisor = 2; divisor * divisor <= n; divisor += 1) if (n % divisor === 0) return false
  return true
}

function draw(shares) {
  const highest = Math.max(...shares)
  const points = shares.map((share, i) => `${i * 4},${100 - (90 * share) / highest}`).join(' ')
  return `<svg xmlns="http://www.w3.org/2000/svg" width="400" height="100"><polyline fill="none" stroke="teal" stroke-width="2" points="${points}"/></svg>`
}
