// The note beside a database file whose jobs were, or are being, transferred to PostgreSQL: nobody runs them from the file.
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { StoreOpenError } from '../open-error.js'
import { codeOf } from './open.js'

const noteOf = (file: string) => `${file}.transfer`

/** The name of the transfer, by which its target knows it; null: there was none. An empty note was cut off, before any row went. */
export function transferOf(file: string): string | null {
  try {
    return readFileSync(noteOf(file), 'utf8').trim() || null
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

/** On disk when it returns. */
export function noteTransfer(file: string, name: string): void {
  const note = openSync(noteOf(file), 'w')
  writeSync(note, `${name}\n`)
  fsyncSync(note)
  closeSync(note)
  // Windows opens no folders.
  if (process.platform === 'win32') return
  const folder = openSync(dirname(file), 'r')
  fsyncSync(folder)
  closeSync(folder)
}

/** @throws StoreOpenError */
export function refuseTransferred(file: string): void {
  if (transferOf(file) === null) return
  throw new StoreOpenError(
    `the jobs of ${file} were, or are being, transferred to PostgreSQL: let "jobmill migrate" end, and set ` +
      `data.database.master to where they are. To stay with the file, drop their schema there and delete ` +
      `${noteOf(file)}: jobs that are in both places run twice`,
  )
}
