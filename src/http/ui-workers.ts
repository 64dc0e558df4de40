// The pages of what runs jobs: workers, types, nodes.
import type { Request } from 'express'
import { z } from 'zod'
import { ServiceError } from '../errors.js'
import { inspect } from '../explain.js'
import type { JobTypes } from '../job-types.js'
import { MAX_THREADS } from '../pool/threads.js'
import { invalid } from '../submission.js'
import type { JobTracker } from '../tracker.js'
import { nodeList } from '../ui/nodes.js'
import { typeDetails, typeList } from '../ui/types.js'
import { workerForms, workerSlots } from '../ui/workers.js'
import type { Pages } from './pages.js'
import { readStats, type StatsSources } from './stats-view.js'
import { DRAINING, knownType, payloadSchema } from './workers.js'

export interface WorkerPages extends StatsSources {
  tracker: JobTracker
  types: JobTypes
  now(): number
}

const scale = z.object({ node: z.string().optional(), max_workers: z.coerce.number().int().min(1).max(MAX_THREADS) })

export function workerPages({ show, form }: Pages, options: WorkerPages): void {
  const { tracker, types, nodes, now } = options

  show('/ui/workers', async () => {
    const stats = await readStats(options)
    const alive = (await nodes.list()).filter(({ state }) => state !== 'lost')
    return { title: 'Workers', head: workerForms(alive, MAX_THREADS), body: workerSlots(stats), over: false }
  })

  show('/ui/types', async () => {
    return { title: 'Types', body: typeList([...types.values()], await readStats(options)), over: false }
  })

  show('/ui/types/:name', async (req) => {
    const type = types.get(String(req.params.name))
    if (type === undefined) throw new ServiceError('not_found', 'there is no such job type')
    return { title: type.name, body: typeDetails(type, await readStats(options), payloadSchema(type)), over: false }
  })

  show('/ui/nodes', async (_req, live) => {
    return { title: 'Nodes', body: nodeList(await nodes.list(), live ? null : now()), over: false }
  })

  const scaled = async (_req: Request, body: unknown) => {
    const checked = inspect(scale, body ?? {})
    if (!checked.ok) throw invalid('invalid_request', checked.findings)
    const { node = options.node, max_workers } = checked.data
    await nodes.ask(node === 'all' ? null : node, { max_workers })
    return '/ui/workers'
  }
  form('/ui/workers/scale', scaled, 'admin')
  for (const [verb, draining] of DRAINING)
    form(
      `/ui/nodes/:id/${verb}`,
      async (req) => {
        await nodes.ask(String(req.params.id), { draining })
        return '/ui/nodes'
      },
      'admin',
    )

  for (const [verb, paused] of [
    ['pause', true],
    ['resume', false],
  ] as const) {
    const all = async () => {
      await tracker.pause(null, paused)
      return '/ui/workers'
    }
    const one = async (req: Request) => {
      const name = String(req.params.name)
      knownType(name, types)
      await tracker.pause(name, paused)
      return '/ui/types'
    }
    form(`/ui/workers/${verb}`, all, 'admin')
    form(`/ui/types/:name/${verb}`, one, 'admin')
  }
}
