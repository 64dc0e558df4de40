-- Artifacts, what jobs take on disk, and the order in which final jobs are pruned.
ALTER TABLE attempts ADD COLUMN reason_detail TEXT;
ALTER TABLE counts ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;

-- Rebuilt, so that what may be large comes last: to read a column behind it takes all of its pages.
CREATE TABLE jobs_rebuilt (
  id                  TEXT PRIMARY KEY,
  type                TEXT NOT NULL,
  status              TEXT NOT NULL CHECK (status IN
    ('waiting', 'scheduled', 'pending', 'processing', 'retrying', 'completed', 'failed', 'cancelled')),
  progress            INTEGER NOT NULL,
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL,
  run_at              INTEGER,
  started_at          INTEGER,
  finished_at         INTEGER,
  priority            INTEGER NOT NULL,
  rank                INTEGER NOT NULL,
  attempt             INTEGER NOT NULL,
  max_attempts        INTEGER NOT NULL,
  run                 INTEGER NOT NULL,
  interruptions       INTEGER NOT NULL,
  timeout_ms          INTEGER NOT NULL,
  cancel_requested_at INTEGER,
  slot                INTEGER,
  payload_bytes       INTEGER NOT NULL,
  -- What payload, result and artifacts take.
  bytes               INTEGER NOT NULL,
  node                TEXT,
  reason              TEXT NOT NULL,
  reason_detail       TEXT NOT NULL,
  progress_note       TEXT,
  artifacts           TEXT,
  error               TEXT,
  result              TEXT,
  payload             TEXT NOT NULL
) STRICT;

INSERT INTO jobs_rebuilt (id, type, status, progress, created_at, updated_at, run_at, started_at, finished_at, priority, rank,
  attempt, max_attempts, run, interruptions, timeout_ms, cancel_requested_at, slot, payload_bytes, bytes, node, reason,
  reason_detail, progress_note, error, result, payload)
SELECT id, type, status, progress, created_at, updated_at, run_at, started_at, finished_at, priority, rank,
  attempt, max_attempts, run, interruptions, timeout_ms, cancel_requested_at, slot, length(CAST(payload AS BLOB)),
  length(CAST(payload AS BLOB)) + coalesce(length(CAST(result AS BLOB)), 0), node, reason,
  reason_detail, progress_note, error, result, payload
FROM jobs;

-- Its indexes and triggers go with it.
DROP TABLE jobs;
ALTER TABLE jobs_rebuilt RENAME TO jobs;

UPDATE counts SET bytes = coalesce(
  (SELECT sum(bytes) FROM jobs WHERE jobs.status = counts.status AND jobs.type = counts.type), 0);

-- A claim looks at the head of this index, once for each type that may run now.
CREATE INDEX jobs_claim ON jobs (type, rank, id) WHERE status = 'pending';
CREATE INDEX jobs_due ON jobs (run_at) WHERE status IN ('scheduled', 'retrying');
CREATE INDEX jobs_running ON jobs (node) WHERE status = 'processing';
-- Lists merge the heads of the (type, status) pairs that the filter names; counts tells which exist.
CREATE INDEX jobs_list ON jobs (type, status, id);

-- Those that ended first go first. Only final jobs have ended; a condition on `status` would not let a bound one use it.
CREATE INDEX jobs_final ON jobs (type, status, finished_at, id) WHERE finished_at IS NOT NULL;

CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs BEGIN
  INSERT INTO counts VALUES (NEW.status, NEW.type, 1, NEW.bytes)
  ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + NEW.bytes;
END;

CREATE TRIGGER jobs_moved AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status BEGIN
  UPDATE counts SET n = n - 1, bytes = bytes - OLD.bytes WHERE status = OLD.status AND type = OLD.type;
  INSERT INTO counts VALUES (NEW.status, NEW.type, 1, NEW.bytes)
  ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + NEW.bytes;
END;

CREATE TRIGGER jobs_ended AFTER UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status AND NEW.status IN ('completed', 'failed', 'cancelled') BEGIN
  INSERT INTO totals VALUES (NEW.status, NEW.type, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
  UPDATE counts SET n = n - 1, bytes = bytes - OLD.bytes WHERE status = OLD.status AND type = OLD.type;
  DELETE FROM attempts WHERE id = OLD.id;
END;
