// A fresh folder for one test, removed after it, with files written from a record.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Texts are written as they are, other values as JSON (which is YAML). `ended` is called with what removes the folder. */
export function freshFolder(
  files: Record<string, unknown> = {},
  ended: (remove: () => void) => void = onTestFinished,
): string {
  const folder = mkdtempSync(join(tmpdir(), 'jobmill-test-'))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
  ended(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
