// The error of a database that cannot be used, whichever driver says so.

/** It cannot be used for jobmill's jobs; the message says why and what to do. It is left as it is. */
export class StoreOpenError extends Error {
  override readonly name = 'StoreOpenError'
}
