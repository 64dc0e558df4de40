-- What happened since the last mail of each digest.
CREATE TABLE digests (
  name     TEXT PRIMARY KEY,
  -- Of the events that wait.
  bytes    INTEGER NOT NULL,
  -- Events that had no room since the last mail: counted, and nothing else.
  unlisted INTEGER NOT NULL,
  -- The last event that went into a mail: who takes events names the one that was read.
  taken    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE digest_events (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  digest     TEXT NOT NULL,
  kind       TEXT NOT NULL,
  text       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  bytes      INTEGER NOT NULL
) STRICT;
CREATE INDEX digest_events_waiting ON digest_events (digest, id);
