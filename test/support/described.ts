// A service with something of everything, and its description.
import { createContract, type Description } from './contract.js'
import { startService } from './service.js'

const DIGESTS = { ops: { schedule: { every: '1h' }, recipients: 'ops@example.com', subject: 'What happened' } }
const FILES = {
  'types/picture.mjs': `export default { run(_, ctx) {
    ctx.log('drawing'); ctx.artifact('a b.png', { content_type: 'image/png' }).end('0123456789'); return { done: true } } }`,
  'types/fails.mjs': `export default { retry_count: 0, run() { throw new Error('no luck') } }`,
  'types/strict.mjs': `import { z } from '${import.meta.resolve('zod')}'
  const tree = z.strictObject({ name: z.string().min(1), get children() { return z.array(tree).optional() } })
  export default { payload: tree, run: () => null }`,
}

export async function startDescribed(config: object = {}, headers: Record<string, string> = {}) {
  const service = await startService({
    config: {
      digests: DIGESTS,
      worker: { max_workers: 2, queue_size: 50_000 },
      server: { body_limit: '64KiB' },
      ...config,
    },
    files: FILES,
  })
  const described: Description = (await service.http.get('/openapi.json').set(headers).expect(200)).body
  return { ...service, described, contract: createContract(described) }
}

export const operationsOf = ({ paths }: Description) =>
  Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  )

export const name = (method: string, path: string) => `${method.toUpperCase()} ${path}`

/** A path with these in place of its parameters. */
export const filled = (path: string, ...values: string[]) => {
  const rest = [...values]
  return path.replaceAll(/\{\w+\}/g, () => encodeURIComponent(rest.shift() ?? 'none'))
}
