// One schedule by its name, or the error that tells that there is none.
import { ServiceError } from '../errors.js'
import type { Schedule, Store } from '../store/store.js'

/** @throws ServiceError schedule_not_found */
export async function findSchedule(store: Store, name: string): Promise<Schedule> {
  const schedule = await store.schedule(name)
  if (schedule === null) throw new ServiceError('schedule_not_found', `there is no schedule ${name.slice(0, 100)}`)
  return schedule
}
