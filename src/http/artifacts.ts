// Serves artifacts as downloads: whole or in part (RFC 9110 §14), with a validator, under names of any script (RFC 6266).
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { create as contentDisposition } from 'content-disposition'
import type { Express, Request, Response } from 'express'
import parseRange from 'range-parser'
import type { ArtifactStore } from '../artifacts.js'
import { ServiceError } from '../errors.js'
import { findArtifact } from '../handler-calls.js'
import type { Store } from '../store/store.js'
import { isKnown } from './conditions.js'
import { route } from './reply.js'

export interface ArtifactRoutes {
  store: Store
  files: ArtifactStore
}

export function artifactRoutes(app: Express, { store, files }: ArtifactRoutes): void {
  route(app, '/jobs/:id/artifacts/:name', {
    async get(req, res) {
      const { job, run, index, artifact } = await findArtifact(store, String(req.params.id), String(req.params.name))
      // A run never changes its artifacts, and no two runs of a job share a number.
      const etag = `"${job.id}.${run}.${index}"`
      res.setHeader('ETag', etag)
      res.setHeader('Accept-Ranges', 'bytes')
      res.setHeader('Cache-Control', 'private, no-cache')
      if (isKnown(req, etag)) {
        res.statusCode = 304
        res.end()
        return
      }
      // Never shown inside this origin, whatever a handler wrote into it.
      res.setHeader('Content-Disposition', contentDisposition(artifact.name))
      res.setHeader('Content-Type', artifact.content_type)
      const { start, end } = rangeOf(req, res, artifact.bytes, etag)
      res.setHeader('Content-Length', end - start + 1)
      if (req.method === 'HEAD' || end < start) res.end()
      else await send(res, await files.stream({ id: job.id, run }, index, start, end))
    },
  })
}

/** The first and the last byte to send. A range that is none, of another version, or one of several is answered whole. */
function rangeOf(req: Request, res: Response, size: number, etag: string): { start: number; end: number } {
  const { range, 'if-range': condition = etag } = req.headers
  const whole = { start: 0, end: size - 1 }
  // Ranges are for GET alone (RFC 9110 §14.2).
  if (range === undefined || condition !== etag || req.method === 'HEAD') return whole
  // More from the end than there is means all of it (§14.1.2); range-parser calls that unsatisfiable.
  const [, suffix] = /^bytes=-(\d+)$/.exec(range) ?? []
  const wanted = Number(suffix) > size && size > 0 ? `bytes=-${size}` : range
  const ranges = parseRange(size, wanted, { combine: true })
  if (ranges === -1) {
    res.setHeader('Content-Range', `bytes */${size}`)
    res.removeHeader('Content-Disposition')
    throw new ServiceError('range_not_satisfiable', `the artifact has ${size} bytes`)
  }
  const [only, ...others] = typeof ranges === 'number' || ranges.type !== 'bytes' ? [] : ranges
  if (only === undefined || others.length > 0) return whole
  res.statusCode = 206
  res.setHeader('Content-Range', `bytes ${only.start}-${only.end}/${size}`)
  return only
}

async function send(res: Response, file: Readable): Promise<void> {
  try {
    await pipeline(file, res)
  } catch (error) {
    // A client that left is no error of ours.
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE')) throw error
  }
}
