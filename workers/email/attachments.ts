// Attachments: what the payload brings, and artifacts of the jobs that this one depends on.
import { buffer } from 'node:stream/consumers'
import { InvalidPayloadError, type JobContext, NonRetryableError } from '../../src/define-job.js'
import type { Payload } from './payload.js'

const OCTETS = 'application/octet-stream'
/** Of all artifacts of one mail: many servers take no more, and it is held in memory. */
const MAX_BYTES = 25 * 1_048_576

type Given = NonNullable<Payload['attachments']>[number]

interface Source {
  job: string
  artifact: string
  name: string
  bytes: number
  content_type: string
}

/** @throws InvalidPayloadError where a job or an artifact is not there, NonRetryableError where they are too large */
export async function attachmentsOf(given: readonly Given[], ctx: JobContext<unknown>) {
  const { detectMimeType } = await import('nodemailer/lib/mime-funcs')
  const found = given.map((entry) => (entry.job === undefined ? entry : sourcesOf(entry.job, entry, ctx)))
  const bytes = found.flatMap((entry) => (Array.isArray(entry) ? entry : [])).reduce((sum, { bytes }) => sum + bytes, 0)
  if (bytes > MAX_BYTES)
    throw new NonRetryableError(`the attachments have ${bytes} bytes, a mail may have ${MAX_BYTES}`)
  const read = found.map(async (entry) => {
    if (Array.isArray(entry)) return Promise.all(entry.map((source) => fetched(source, ctx)))
    const { name = '', content = '', content_type } = entry
    // Media types of containers would not be encoded.
    const detected = detectMimeType(name).replace(/^(multipart|message)\/.*/, OCTETS)
    return { filename: name, content: Buffer.from(content, 'base64'), contentType: content_type ?? detected }
  })
  return (await Promise.all(read)).flat()
}

function sourcesOf(id: string, { artifact, name }: Given, { dependencies }: JobContext<unknown>): Source[] {
  const job = dependencies.find((dependency) => dependency.id === id)
  if (job === undefined) throw new InvalidPayloadError(`attachments: job ${id} is not one that this job depends on`)
  const made = job.artifacts.filter((candidate) => artifact === undefined || candidate.name === artifact)
  if (made.length === 0) {
    const there = job.artifacts.map(({ name }) => name).join(', ') || 'none'
    const wanted = artifact === undefined ? 'no artifacts' : `no artifact "${artifact}", it has ${there}`
    throw new InvalidPayloadError(`attachments: job ${id} has ${wanted}`)
  }
  return made.map((found) => ({ ...found, job: id, artifact: found.name, name: name ?? found.name }))
}

async function fetched({ job, artifact, name, content_type }: Source, ctx: JobContext<unknown>) {
  const { stream } = await ctx.openArtifact(job, artifact)
  return { filename: name, content: await buffer(stream), contentType: content_type }
}
