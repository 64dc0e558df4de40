// Opens the store that the settings name, whichever driver it has, and the store of its artifacts.
import { type ArtifactStore, createArtifactFolder, ownFolder } from '../artifacts.js'
import type { Config, Database } from '../config.js'
import type { DigestRules } from '../digests/events.js'
import type { Rules } from '../job.js'
import { openSqliteStore } from './sqlite/sqlite.js'
import type { Store, TypeDefaults } from './store.js'

export interface StoreOptions {
  /** Who this is: new at every start. */
  node: string
  /** Milliseconds that a node is taken for alive after it was heard of last. */
  lease: number
  /** Whose events the ends of jobs are. */
  digests: readonly DigestRules[]
  /** Those that take jobs, for submissions by SQL. */
  types: readonly TypeDefaults[]
  /** Told after each transaction: how many writes shared it, and its milliseconds. */
  onCommit(writes: number, ms: number): void
  /** Told whenever a full disk of this machine is in the way, also of opening the database. */
  onFull(): void
  /** Told once, when writes cannot be trusted any more: the process is to end. */
  onFailure(message: string): void
}

/** @throws StoreOpenError where the database cannot be used */
export async function openStore(database: Database, rules: Rules, options: StoreOptions): Promise<Store> {
  if (database.driver === 'sqlite') return openSqliteStore(database.file, rules, options)
  const { openPostgresStore } = await import('./postgres/postgres.js')
  return openPostgresStore({ ...options, ...database }, rules)
}

/**
 * After the store, which makes its tables.
 *
 * @throws StoreOpenError where the folder is another service's
 */
export async function openArtifacts(
  { database, artifacts }: Config['data'],
  { node, service }: { node: string; service: string },
): Promise<ArtifactStore> {
  await ownFolder(artifacts.dir, service)
  if (database.driver === 'sqlite' || artifacts.store === 'folder') return createArtifactFolder(artifacts.dir)
  const { openPostgresArtifacts } = await import('./postgres/artifacts.js')
  return openPostgresArtifacts({ source: database.source, schema: database.schema, node, dir: artifacts.dir })
}
