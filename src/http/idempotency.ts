// Idempotency-Key: who sends a submission again, not knowing what became of it, gets the job that the first one made.
import { createHash } from 'node:crypto'
import type { Request } from 'express'
import { MAX_KEY_LENGTH } from '../envelope.js'
import { ServiceError } from '../errors.js'
import type { JobKey } from '../store/store.js'

/**
 * The key of a request, or none. Clients with different API keys never meet in theirs.
 *
 * @throws ServiceError malformed_request
 */
export function idempotencyKeys(req: Request, body: unknown, owner: string, expires_at: number): JobKey[] {
  const key = req.headers['idempotency-key']
  if (key === undefined) return []
  if (typeof key !== 'string' || key === '' || key.length > MAX_KEY_LENGTH)
    throw new ServiceError('malformed_request', `Idempotency-Key must have 1 to ${MAX_KEY_LENGTH} characters`)
  const fingerprint = createHash('sha256').update(JSON.stringify(body)).digest('base64url')
  return [{ kind: 'idempotency', owner, key, fingerprint, expires_at }]
}
