// Jobs that stand inside other requests: the validating schemas check them in a second step, as submissions.
import { z } from 'zod'
import { DELAY_OR_TIME, envelope, submissionFields } from '../../envelope.js'
import { document } from '../../schedules/plan.js'
import { batchBody } from '../batches.js'

const fields = z.strictObject(submissionFields)

/** The fields that schedules let their jobs have; what they may be is what submissions let them be. */
export const scheduledJob = fields
  .pick({ type: true, payload: true, priority: true, retry_count: true, timeout: true, tags: true })
  .describe('The job that each tick makes.')

export const onComplete = fields
  .omit({ unique_key: true, unique_for: true, depends_on: true, on_dependency_failure: true })
  .meta({ ...DELAY_OR_TIME, description: 'A job that waits for the end of all others.' })

/** What these take is described by another schema. */
export const READ_LATER = new Map<z.core.$ZodType, z.ZodType>([
  [document.shape.job, scheduledJob],
  [batchBody.shape.jobs.element, envelope],
  [batchBody.shape.on_complete, onComplete],
])
