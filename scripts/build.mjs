// Builds dist/: compiles src and workers, copies SQL and assets, and forgets job types whose source is gone.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join, parse } from 'node:path'
import { fileURLToPath } from 'node:url'

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'))

const { stdout, status } = spawnSync(
  process.execPath,
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'],
  {
    encoding: 'utf8',
  },
)
process.stdout.write(stdout)
// A job type with a mistake must not keep the others from running: it is compiled all the same and judged at start.
const errors = stdout.split('\n').filter((line) => /error TS/.test(line))
const tolerable = errors.length > 0 && errors.every((line) => line.startsWith('workers/'))
if (status !== 0 && !tolerable) process.exit(1)

for (const folder of ['src/store/sql', 'src/ui/assets']) cpSync(folder, join('dist', folder), { recursive: true })
// The page of the API's description: one file of a package that is not needed at run time, with its licence.
const scalar = new URL('./', import.meta.resolve('@scalar/fastify-api-reference'))
cpSync(new URL('js/standalone.js', scalar), 'dist/src/ui/assets/scalar.js')
cpSync(new URL('../LICENSE', scalar), 'dist/src/ui/assets/scalar.LICENSE')

mkdirSync('dist/workers', { recursive: true })
for (const entry of readdirSync('dist/workers', { withFileTypes: true })) {
  const name = entry.isDirectory() ? entry.name : parse(entry.name.replace(/\.(d\.m?ts|m?js)(\.map)?$/, '')).base
  const sources = [name, `${name}.ts`, `${name}.js`, `${name}.mjs`].map((file) => join('workers', file))
  if (!sources.some(existsSync)) rmSync(join('dist/workers', entry.name), { recursive: true })
}
