// Has redocly look at the description of the API, as it is without job types; redocly.yaml has its rules.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describeApi } from '../src/http/openapi/document.js'

const folder = mkdtempSync(join(tmpdir(), 'jobmill-api-'))
const file = join(folder, 'openapi.json')
writeFileSync(file, JSON.stringify(describeApi(new Map(), '0.0.0'), null, 2))
const { status, stdout, stderr } = spawnSync(
  process.execPath,
  [fileURLToPath(import.meta.resolve('@redocly/cli/bin/cli.js')), 'lint', file, '--max-problems', '20'],
  { encoding: 'utf8', env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' } },
)
rmSync(folder, { recursive: true })
// Warnings count: what is put up with stands in redocly.yaml.
if (status !== 0 || /warning/.test(stderr.replaceAll(/Deprecation warning/g, ''))) {
  process.stderr.write(stdout + stderr)
  process.exitCode = 1
}
