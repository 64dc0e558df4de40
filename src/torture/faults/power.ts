// The power goes: what the disk holds at that moment is all that is left.
import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { audit } from '../audit.js'
import { type Bench, type Fault, type Finding, inFolder, rounds } from '../bench.js'
import { createLedger, startLoad } from '../client.js'
import { start, withServer } from '../server.js'
import { command, missingMount, missingPrograms } from '../tools.js'
import { noteCrash, witnessed, witnessFolder } from '../witness.js'

const ROUNDS = 10
const IMAGE_MB = 64
const LOAD_MS = 500
const CLIENTS = 8

export const powerCut: Fault = {
  number: 2,
  name: 'power cut: an ext4 image as it is on disk while the server is stopped',
  expected: 'what was acknowledged is in the image and ends once',
  missing: () => missingPrograms('mkfs.ext4', 'losetup') ?? missingMount() ?? missingLoop(),
  run: (bench) => tryPowerCuts(bench, ROUNDS),
}

export function tryPowerCuts(bench: Bench, least: number): Promise<Finding> {
  return inFolder(witnessFolder(), async (folder) => {
    const ledger = createLedger()
    const disks = [0, 1].map((n) => ({ image: join(folder, `disk-${n}.img`), at: join(folder, `disk-${n}`) }))
    let [disk, spare] = disks as [Disk, Disk]
    format(disk)
    mkdirSync(spare.at)
    let round = 0
    for (round of rounds(bench, least)) {
      await cutPower(bench, folder, disk, spare.image, ledger)
      noteCrash(folder)
      ;[disk, spare] = [spare, disk]
    }
    return mounted(disk, () => closing(bench, folder, disk, ledger, round + 1))
  })
}

interface Disk {
  image: string
  /** Where it is mounted. */
  at: string
}

function missingLoop(): string | null {
  return existsSync('/dev/loop-control') ? null : 'needs loop devices'
}

function format({ image, at }: Disk): void {
  command('truncate', '-s', `${IMAGE_MB}M`, image)
  command('mkfs.ext4', '-q', image)
  mkdirSync(at)
}

/** Mounting replays the journal of the file system, as a machine does when the power is back. */
async function mounted<T>({ image, at }: Disk, body: () => Promise<T>): Promise<T> {
  command('mount', '-o', 'loop', image, at)
  try {
    return await body()
  } finally {
    command('umount', at)
  }
}

/** Handlers write down their runs beside the disk: that file is not what is tried. */
const onDisk = (folder: string, { at }: Disk) => ({
  env: {
    ...witnessed(folder),
    JOBMILL_DATA__DATABASE__MASTER__SOURCE: join(at, 'jobs.db'),
    JOBMILL_DATA__ARTIFACTS__DIR: join(at, 'artifacts'),
  },
})

function cutPower(bench: Bench, folder: string, disk: Disk, copy: string, ledger: ReturnType<typeof createLedger>) {
  return mounted(disk, async () =>
    withServer(await start(bench, folder, onDisk(folder, disk)), async (server) => {
      const load = startLoad(server, ledger, CLIENTS)
      await sleep(LOAD_MS)
      server.child.kill('SIGSTOP')
      copyFileSync(disk.image, copy)
      await server.kill('SIGKILL')
      await load.stop()
    }),
  )
}

async function closing(
  bench: Bench,
  folder: string,
  disk: Disk,
  ledger: ReturnType<typeof createLedger>,
  rounds: number,
): Promise<Finding> {
  return withServer(await start(bench, folder, onDisk(folder, disk)), async (server) => {
    const { violations, counts } = await audit(server, ledger, folder)
    return { rounds, counts, violations }
  })
}
