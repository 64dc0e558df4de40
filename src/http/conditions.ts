// Validators (RFC 9110 §8.8) and what clients say that they have already.
import { createHash } from 'node:crypto'
import type { Request } from 'express'

/** A strong validator: the same bytes have the same one. */
export function etagOf(text: string): string {
  return `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`
}

/** RFC 9110 §13.1.2: validators are compared weakly, "*" fits any. */
export function isKnown(req: Request, etag: string): boolean {
  const known = req.headers['if-none-match']?.split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return known !== undefined && (known.includes(etag) || known.includes('*'))
}
