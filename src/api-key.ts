// API keys: random, shown once, kept only as their SHA-256.
import { createHash, randomBytes } from 'node:crypto'

export const SCOPES = ['jobs:read', 'jobs:write', 'admin'] as const
/** `admin` includes the other two; `jobs:write` does not include `jobs:read`. */
export type Scope = (typeof SCOPES)[number]

export interface ApiKey {
  name: string
  /** Of the key as it is sent, in lower-case hexadecimal digits. */
  sha256: string
  scopes: readonly Scope[]
}

/** What fits into `Authorization: Bearer` (RFC 6750 §2.1). */
export const BEARER_TOKEN = /^[\w.~+/-]+=*$/

const KEY_BYTES = 32

/** A new key: "jm_" and 256 random bits. */
export function newKey(): string {
  return `jm_${randomBytes(KEY_BYTES).toString('base64url')}`
}

export function sha256Of(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

export function allows({ scopes }: ApiKey, scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes('admin')
}
