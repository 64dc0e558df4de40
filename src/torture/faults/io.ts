// The disk answers EIO: to the Nth fsync, to the Nth write of a page.
import { setTimeout as sleep } from 'node:timers/promises'
import { audit } from '../audit.js'
import { type Bench, createFinding, type Fault, inFolder, partOf, within } from '../bench.js'
import { createLedger, type Ledger, startLoad } from '../client.js'
import { start, startOrEnd, withServer } from '../server.js'
import { missingPrograms } from '../tools.js'
import { noteCrash, witnessed, witnessFolder } from '../witness.js'

const LAST = 40
const CLIENTS = 4
/** So long the server may go on where the call that fails does not come. */
const LOAD_MS = 400
const KINDS = { fsync: 'fsync,fdatasync', pwrite: 'pwrite64' }

export const ioErrors: Fault = {
  number: 3,
  name: `EIO from the Nth fsync and from the Nth write of a page, N = 1…${LAST}`,
  expected: 'an unknown outcome is told as one, the process ends with 1, and the next one recovers from disk',
  missing: () => missingPrograms('strace'),
  run: (bench) => tryIoErrors(bench, 1, LAST),
}

/**
 * The Nth call fails for each N from `first` to `last`, or for the bench's share of them, on one database that each server
 * finds as the one before left it.
 */
export async function tryIoErrors(bench: Bench, first: number, last: number) {
  const finding = createFinding()
  const all = last - first + 1
  const some = partOf(bench, all)
  const tried = Array.from({ length: some }, (_, i) => first + Math.floor((i * all) / some))
  const perKind = await Promise.all(
    Object.values(KINDS).map((calls) =>
      inFolder(witnessFolder(), async (folder) => {
        const ledger = createLedger()
        for (const n of tried) {
          await failOnce(bench, folder, calls, n, ledger, finding)
          noteCrash(folder)
        }
        return withServer(await start(bench, folder, { env: witnessed(folder) }), (server) =>
          audit(server, ledger, folder),
        )
      }),
    ),
  )
  for (const { counts, violations } of perKind) {
    finding.violations.push(...violations)
    for (const [name, n] of Object.entries(counts)) finding.count(name, n)
  }
  return { rounds: perKind.length * some, counts: finding.counts, violations: finding.violations }
}

type Checks = ReturnType<typeof createFinding>

async function failOnce(
  bench: Bench,
  folder: string,
  calls: string,
  n: number,
  ledger: Ledger,
  { check, count }: Checks,
) {
  const inject = ['-e', `trace=${calls}`, '-e', `inject=${calls}:error=EIO:when=${n}`]
  const wrapper = ['strace', '-D', '-f', '--seccomp-bpf', '-qq', '-o', '/dev/null', ...inject]
  const server = await startOrEnd(bench, folder, { env: witnessed(folder), wrapper })
  // The call that failed was one of the start: it refused to.
  if (server === null) return count('refused to start')
  await withServer(server, async () => {
    const before = ledger.unknown.size
    const load = startLoad(server, ledger, CLIENTS)
    const exit = await Promise.race([server.exit, sleep(LOAD_MS)])
    await load.stop()
    if (exit === undefined && !wasHit(server.log())) return count('not reached')
    const { code } = exit ?? (await within('the server ended', server.exit))
    count('ended with 1')
    check(code === 1, `after EIO the process ended with ${code}, not with 1 (N = ${n} of ${calls})`)
    // Whoever was answered after the failure was told that it is not known, or got no answer at all.
    if (ledger.unknown.size > before) count('told as unknown', ledger.unknown.size - before)
  })
}

function wasHit(log: Record<string, unknown>[]): boolean {
  return log.some(({ msg }) => msg === 'store failed')
}
