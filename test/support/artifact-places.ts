// Where the artifacts of a test are kept: in the folder of the one node that SQLite has, or in PostgreSQL.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'vitest'
import { postgresMissing, usePostgres } from './postgres.js'

export interface Place {
  /** The settings under `data` of a service on an empty database. */
  data(): object
  /** The runs, "id.run", of which anything is there. */
  kept(folder: string): Promise<string[]>
  /** Takes away what is kept of a job. */
  lose(folder: string, id: string): Promise<void>
}

/** The suite once for each place. */
export function inEachPlace(suite: (place: Place) => void): void {
  describe('in the folder of one node', () => suite(FOLDER))
  describe.skipIf(postgresMissing !== null)(`in PostgreSQL (${postgresMissing ?? 'a real server'})`, () => {
    suite(inPostgres(usePostgres()))
  })
}

const FOLDER: Place = {
  data: () => ({}),
  kept: async (folder) => runFolders(folder),
  async lose(folder, id) {
    rmSync(join(folder, 'data/artifacts', id.slice(-2)), { recursive: true })
  },
}

let schemas = 0

function inPostgres(server: ReturnType<typeof usePostgres>): Place {
  let schema = ''
  return {
    data() {
      schemas += 1
      schema = `artifacts_${process.pid}_${schemas}`
      return { database: { master: { driver: 'postgres', source: server.url(), schema } } }
    },
    async kept(folder) {
      const text = `SELECT DISTINCT id || '.' || run AS name FROM ${schema}.artifact_chunks`
      const sent = (await server.ask<{ name: string }>(text)).map(({ name }) => name)
      return [...new Set([...sent, ...runFolders(folder)])]
    },
    async lose(_, id) {
      await server.ask(`DELETE FROM ${schema}.artifact_chunks WHERE id = $1`, [id])
    },
  }
}

/** The folders of runs that are on disk. */
export function runFolders(folder: string): string[] {
  const root = join(folder, 'data/artifacts')
  if (!existsSync(root)) return []
  const shards = readdirSync(root).filter((name) => !name.startsWith('.'))
  return shards.flatMap((shard) => readdirSync(join(root, shard)))
}
