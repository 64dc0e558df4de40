-- Schedules, and what became of each of their ticks.
CREATE TABLE schedules (
  name       TEXT PRIMARY KEY,
  -- Who defined it, and may change it: 'config' or 'http'.
  source     TEXT NOT NULL,
  -- As it was put, JSON.
  document   TEXT NOT NULL,
  -- Where a grid without `start_at` begins: when this timing was first put.
  anchor     INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  -- Since when it is paused, or NULL.
  paused_at  INTEGER,
  -- The next tick; while it is paused, the one that would have been next. NULL: there is none, or not before a run has ended.
  next_at    INTEGER,
  -- Milliseconds from the end of a run to the next tick; NULL where ticks do not wait for runs.
  delay      INTEGER,
  -- What its runs came to, JSON; NULL before the first has ended.
  totals     TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL AND paused_at IS NULL;

CREATE TABLE ticks (
  schedule TEXT NOT NULL,
  tick_at  INTEGER NOT NULL,
  -- 1: a person asked for it; its time is when.
  asked    INTEGER NOT NULL,
  -- The last tick of a span that is one record.
  until    INTEGER NOT NULL,
  job_id   TEXT,
  -- Why it ran, or did not.
  reason   TEXT NOT NULL,
  PRIMARY KEY (schedule, tick_at, asked)
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_schedule ON jobs (schedule, id)
  WHERE schedule IS NOT NULL AND status IN ('waiting', 'scheduled', 'pending', 'processing', 'retrying');
