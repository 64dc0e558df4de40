-- Jobs, their runs, and counts that are kept instead of counted.
CREATE TABLE jobs (
  id                  TEXT PRIMARY KEY,
  type                TEXT NOT NULL,
  status              TEXT NOT NULL CHECK (status IN
    ('waiting', 'scheduled', 'pending', 'processing', 'retrying', 'completed', 'failed', 'cancelled')),
  progress            INTEGER NOT NULL,
  progress_note       TEXT,
  reason              TEXT NOT NULL,
  reason_detail       TEXT NOT NULL,
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
  node                TEXT,
  slot                INTEGER,
  result              TEXT,
  error               TEXT,
  payload             TEXT NOT NULL
) STRICT;

-- A claim looks at the head of this index, once for each type that may run now.
CREATE INDEX jobs_claim ON jobs (type, rank, id) WHERE status = 'pending';
CREATE INDEX jobs_due ON jobs (run_at) WHERE status IN ('scheduled', 'retrying');
CREATE INDEX jobs_running ON jobs (node) WHERE status = 'processing';
-- Lists merge the heads of the (type, status) pairs that the filter names; counts tells which exist.
CREATE INDEX jobs_list ON jobs (type, status, id);

CREATE TABLE attempts (
  id          TEXT NOT NULL,
  run         INTEGER NOT NULL,
  attempt     INTEGER NOT NULL,
  node        TEXT NOT NULL,
  slot        INTEGER NOT NULL,
  started_at  INTEGER NOT NULL,
  finished_at INTEGER,
  outcome     TEXT,
  reason      TEXT,
  error       TEXT,
  PRIMARY KEY (id, run)
) STRICT, WITHOUT ROWID;

CREATE TABLE counts (
  status TEXT NOT NULL,
  type   TEXT NOT NULL,
  n      INTEGER NOT NULL,
  PRIMARY KEY (status, type)
) STRICT, WITHOUT ROWID;

-- How many jobs ever ended so: unlike counts, no deletion lowers them.
CREATE TABLE totals (
  status TEXT NOT NULL,
  type   TEXT NOT NULL,
  n      INTEGER NOT NULL,
  PRIMARY KEY (status, type)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs BEGIN
  INSERT INTO counts VALUES (NEW.status, NEW.type, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER jobs_moved AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status BEGIN
  UPDATE counts SET n = n - 1 WHERE status = OLD.status AND type = OLD.type;
  INSERT INTO counts VALUES (NEW.status, NEW.type, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER jobs_ended AFTER UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status AND NEW.status IN ('completed', 'failed', 'cancelled') BEGIN
  INSERT INTO totals VALUES (NEW.status, NEW.type, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
  UPDATE counts SET n = n - 1 WHERE status = OLD.status AND type = OLD.type;
END;
