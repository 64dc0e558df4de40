-- Batches, dependencies, concurrency keys, rates, start_by, tags, checkpoints and logs.
CREATE TABLE jobs_rebuilt (
  id                    TEXT PRIMARY KEY,
  type                  TEXT NOT NULL,
  status                TEXT NOT NULL CHECK (status IN
    ('waiting', 'scheduled', 'pending', 'processing', 'retrying', 'completed', 'failed', 'cancelled')),
  progress              INTEGER NOT NULL,
  created_at            INTEGER NOT NULL,
  updated_at            INTEGER NOT NULL,
  run_at                INTEGER,
  start_by              INTEGER,
  started_at            INTEGER,
  finished_at           INTEGER,
  priority              INTEGER NOT NULL,
  rank                  INTEGER NOT NULL,
  -- Pending, but another job of its concurrency key goes first.
  held                  INTEGER NOT NULL DEFAULT 0,
  attempt               INTEGER NOT NULL,
  max_attempts          INTEGER NOT NULL,
  run                   INTEGER NOT NULL,
  interruptions         INTEGER NOT NULL,
  timeout_ms            INTEGER NOT NULL,
  cancel_requested_at   INTEGER,
  slot                  INTEGER,
  payload_bytes         INTEGER NOT NULL,
  -- What payload, result and artifacts take.
  bytes                 INTEGER NOT NULL,
  node                  TEXT,
  concurrency_key       TEXT,
  batch_id              TEXT,
  schedule              TEXT,
  on_dependency_failure TEXT NOT NULL DEFAULT 'fail',
  reason                TEXT NOT NULL,
  reason_detail         TEXT NOT NULL,
  progress_note         TEXT,
  -- JSON; NULL where there are none.
  tags                  TEXT,
  depends_on            TEXT,
  artifacts             TEXT,
  error                 TEXT,
  result                TEXT,
  payload               TEXT NOT NULL
) STRICT;

INSERT INTO jobs_rebuilt (id, type, status, progress, created_at, updated_at, run_at, started_at, finished_at, priority, rank,
  attempt, max_attempts, run, interruptions, timeout_ms, cancel_requested_at, slot, payload_bytes, bytes, node, reason,
  reason_detail, progress_note, artifacts, error, result, payload)
SELECT id, type, status, progress, created_at, updated_at, run_at, started_at, finished_at, priority, rank,
  attempt, max_attempts, run, interruptions, timeout_ms, cancel_requested_at, slot, payload_bytes, bytes, node, reason,
  reason_detail, progress_note, artifacts, error, result, payload
FROM jobs;

-- Its indexes and triggers go with it.
DROP TABLE jobs;
ALTER TABLE jobs_rebuilt RENAME TO jobs;

-- A claim looks at the head of this index, once for each type that may run now.
CREATE INDEX jobs_claim ON jobs (type, rank, id) WHERE status = 'pending' AND held = 0;
CREATE INDEX jobs_due ON jobs (run_at) WHERE status IN ('scheduled', 'retrying');
CREATE INDEX jobs_running ON jobs (node) WHERE status = 'processing';
CREATE INDEX jobs_suspect ON jobs (rank, id) WHERE status = 'pending' AND reason = 'rescued' AND interruptions >= 2;
CREATE INDEX jobs_expiry ON jobs (start_by)
  WHERE start_by IS NOT NULL AND status IN ('waiting', 'scheduled', 'pending', 'retrying');
-- Lists merge the heads of the (type, status) pairs that the filter names; counts tells which exist.
CREATE INDEX jobs_list ON jobs (type, status, id);
CREATE INDEX jobs_batch ON jobs (batch_id, id) WHERE batch_id IS NOT NULL;
-- Those that ended first go first. Only final jobs have ended; a condition on `status` would not let a bound one use it.
CREATE INDEX jobs_final ON jobs (type, status, finished_at, id) WHERE finished_at IS NOT NULL;
-- The pending jobs of a concurrency key in their order, and the one of them that may be claimed.
CREATE INDEX jobs_turn ON jobs (concurrency_key, rank, id) WHERE status = 'pending' AND concurrency_key IS NOT NULL;
CREATE INDEX jobs_front ON jobs (concurrency_key)
  WHERE status = 'pending' AND concurrency_key IS NOT NULL AND held = 0;

-- Who holds a concurrency key: from its first start until it is final.
CREATE TABLE key_holders (key TEXT PRIMARY KEY, id TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- What jobs that are waiting wait for; `open` until that job is final.
CREATE TABLE dependencies (
  id    TEXT NOT NULL,
  on_id TEXT NOT NULL,
  open  INTEGER NOT NULL,
  PRIMARY KEY (id, on_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dependents ON dependencies (on_id, open);

-- Final jobs with more dependents than one transaction tells: the rest is told by upkeep.
CREATE TABLE unblocking (on_id TEXT PRIMARY KEY, status TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
  id          TEXT PRIMARY KEY,
  created_at  INTEGER NOT NULL,
  -- The node that still adds jobs to it.
  open_by     TEXT,
  -- It was cancelled while it was open.
  refuses     INTEGER NOT NULL DEFAULT 0,
  -- The job that waits for the end of all others.
  on_complete TEXT,
  -- Its jobs that were not deleted; the columns below count all that there ever were, by status.
  stored      INTEGER NOT NULL DEFAULT 0,
  waiting     INTEGER NOT NULL DEFAULT 0,
  scheduled   INTEGER NOT NULL DEFAULT 0,
  pending     INTEGER NOT NULL DEFAULT 0,
  processing  INTEGER NOT NULL DEFAULT 0,
  retrying    INTEGER NOT NULL DEFAULT 0,
  completed   INTEGER NOT NULL DEFAULT 0,
  failed      INTEGER NOT NULL DEFAULT 0,
  cancelled   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_open ON batches (open_by) WHERE open_by IS NOT NULL;
CREATE INDEX batches_on_complete ON batches (on_complete) WHERE on_complete IS NOT NULL;

CREATE TABLE tags (
  id  TEXT NOT NULL,
  tag TEXT NOT NULL,
  PRIMARY KEY (id, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tagged ON tags (tag, id);

-- When jobs of a type with a rate were started.
CREATE TABLE starts (type TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX starts_type ON starts (type, at);

-- What a handler kept for the runs after it.
CREATE TABLE checkpoints (id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE logs (
  id      TEXT NOT NULL,
  run     INTEGER NOT NULL,
  line    INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (id, run, line)
) STRICT, WITHOUT ROWID;

-- Jobs are added to counts and batches a submission at a time, by whoever inserts them.
CREATE TRIGGER jobs_moved AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status BEGIN
  UPDATE counts SET n = n - 1, bytes = bytes - OLD.bytes WHERE status = OLD.status AND type = OLD.type;
  INSERT INTO counts VALUES (NEW.status, NEW.type, 1, NEW.bytes)
  ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + NEW.bytes;
END;

CREATE TRIGGER jobs_ended AFTER UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status AND NEW.status IN ('completed', 'failed', 'cancelled') BEGIN
  INSERT INTO totals VALUES (NEW.status, NEW.type, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER jobs_moved_in_batch AFTER UPDATE OF status ON jobs
WHEN NEW.batch_id IS NOT NULL AND OLD.status <> NEW.status BEGIN
  UPDATE batches SET
    waiting = waiting + (NEW.status = 'waiting') - (OLD.status = 'waiting'),
    scheduled = scheduled + (NEW.status = 'scheduled') - (OLD.status = 'scheduled'),
    pending = pending + (NEW.status = 'pending') - (OLD.status = 'pending'),
    processing = processing + (NEW.status = 'processing') - (OLD.status = 'processing'),
    retrying = retrying + (NEW.status = 'retrying') - (OLD.status = 'retrying'),
    completed = completed + (NEW.status = 'completed') - (OLD.status = 'completed'),
    failed = failed + (NEW.status = 'failed') - (OLD.status = 'failed'),
    cancelled = cancelled + (NEW.status = 'cancelled') - (OLD.status = 'cancelled')
  WHERE id = NEW.batch_id;
END;

CREATE TRIGGER jobs_unblocked AFTER UPDATE OF status ON jobs WHEN OLD.status = 'waiting' AND NEW.status <> 'waiting' BEGIN
  DELETE FROM dependencies WHERE id = OLD.id;
END;

CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
  UPDATE counts SET n = n - 1, bytes = bytes - OLD.bytes WHERE status = OLD.status AND type = OLD.type;
  DELETE FROM attempts WHERE id = OLD.id;
  DELETE FROM logs WHERE id = OLD.id;
  DELETE FROM checkpoints WHERE id = OLD.id;
END;

CREATE TRIGGER keys_deleted AFTER DELETE ON jobs BEGIN
  DELETE FROM keys WHERE id = OLD.id;
END;

CREATE TRIGGER tags_deleted AFTER DELETE ON jobs WHEN OLD.tags IS NOT NULL BEGIN
  DELETE FROM tags WHERE id = OLD.id;
END;

CREATE TRIGGER empty_batches_deleted AFTER DELETE ON jobs BEGIN
  DELETE FROM batches WHERE on_complete = OLD.id AND stored = 0 AND open_by IS NULL;
END;

CREATE TRIGGER batches_deleted AFTER DELETE ON jobs WHEN OLD.batch_id IS NOT NULL BEGIN
  UPDATE batches SET stored = stored - 1 WHERE id = OLD.batch_id;
  DELETE FROM batches WHERE id = OLD.batch_id AND stored = 0 AND open_by IS NULL;
END;
