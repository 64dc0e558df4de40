// The schemas that have a name in the description: it refers to them wherever they are part of something.

import { adjustment, envelope } from '../../envelope.js'
import { document } from '../../schedules/plan.js'
import { batchBody } from '../batches.js'
import { bulkCancel, bulkRerun } from '../bulk.js'
import { newEvent } from '../digests.js'
import { cancelRequest } from '../jobs.js'
import { bound, which } from '../workers.js'
import * as answers from './answers.js'
import { lineAnswer, lineSent } from './batches.js'
import { problem } from './problems.js'
import { onComplete, scheduledJob } from './requests.js'
import * as upkeep from './upkeep-answers.js'

export const NAMED = {
  JobSubmission: envelope,
  JobAdjustment: adjustment,
  CancelRequest: cancelRequest,
  BulkCancel: bulkCancel,
  BulkRerun: bulkRerun,
  BatchSubmission: batchBody,
  BatchLine: lineSent,
  OnComplete: onComplete,
  ScheduleDocument: document,
  ScheduledJob: scheduledJob,
  DigestEvent: newEvent,
  WorkersBound: bound,
  WhichType: which,
  Timestamp: answers.timestamp,
  JobStatus: answers.jobStatus,
  CountsByStatus: answers.countsByStatus,
  JobSummary: answers.jobSummary,
  Job: answers.job,
  AcceptedJob: answers.acceptedJob,
  JobList: answers.jobList,
  AttemptList: answers.attemptList,
  LogPage: answers.logPage,
  Why: answers.why,
  BulkCancelled: answers.bulkCancelled,
  BulkRerunAnswer: answers.bulkRerun,
  Batch: answers.batch,
  BatchAccepted: answers.batchAccepted,
  BatchLineAnswer: lineAnswer,
  Schedule: upkeep.schedule,
  SystemSchedule: upkeep.systemSchedule,
  AnySchedule: upkeep.anySchedule,
  ScheduleList: upkeep.scheduleList,
  NextTicks: upkeep.nextTicks,
  History: upkeep.history,
  Digest: upkeep.digest,
  DigestList: upkeep.digestList,
  DigestAccepted: upkeep.digestAccepted,
  DigestPreview: upkeep.digestPreview,
  Durations: upkeep.durations,
  Pauses: upkeep.pauses,
  Stats: upkeep.stats,
  Node: upkeep.node,
  TypeList: upkeep.typeList,
  Alive: upkeep.alive,
  Ready: upkeep.ready,
  Problem: problem,
}
/** Those that are a job to be made: what they take depends on its type. */
export const SUBMITTED: readonly (keyof typeof NAMED)[] = ['JobSubmission', 'OnComplete', 'ScheduledJob']
