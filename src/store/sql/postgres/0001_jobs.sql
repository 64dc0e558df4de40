-- The tables of jobmill, in the schema that the connection's search_path names first. Ids sort by their bytes. Times are
-- milliseconds since 1970, as jobs have them; leases alone are the server's own time.
-- Nodes that know version 1 can work with it.
CREATE TABLE jobs (
  id                    text COLLATE "C" PRIMARY KEY,
  rank                  bigint NOT NULL,
  created_at            bigint NOT NULL,
  updated_at            bigint NOT NULL,
  timeout_ms            bigint NOT NULL,
  payload_bytes         bigint NOT NULL,
  -- What payload, result and artifacts take.
  bytes                 bigint NOT NULL,
  progress              integer NOT NULL DEFAULT 0,
  priority              integer NOT NULL,
  attempt               integer NOT NULL DEFAULT 0,
  max_attempts          integer NOT NULL,
  run                   integer NOT NULL DEFAULT 0,
  interruptions         integer NOT NULL DEFAULT 0,
  -- Pending, but another job of its concurrency key goes first.
  held                  boolean NOT NULL DEFAULT false,
  type                  text COLLATE "C" NOT NULL,
  status                text NOT NULL CHECK (status IN
    ('waiting', 'scheduled', 'pending', 'processing', 'retrying', 'completed', 'failed', 'cancelled')),
  reason                text NOT NULL,
  on_dependency_failure text NOT NULL DEFAULT 'fail',
  started_at            bigint,
  finished_at           bigint,
  run_at                bigint,
  start_by              bigint,
  cancel_requested_at   bigint,
  slot                  integer,
  node                  text COLLATE "C",
  concurrency_key       text COLLATE "C",
  batch_id              text COLLATE "C",
  schedule              text COLLATE "C",
  reason_detail         text NOT NULL,
  progress_note         text,
  -- JSON as it was made, kept to the letter; NULL where there are none.
  tags                  text,
  depends_on            text,
  artifacts             text,
  error                 text,
  result                text,
  payload               text NOT NULL
-- Every run leaves two versions of a row behind, and claims walk over them: they go before there are many.
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);

-- A claim looks at the head of this index, once for each type that may run now.
CREATE INDEX jobs_claim ON jobs (type, rank, id) WHERE status = 'pending' AND NOT held;
CREATE INDEX jobs_due ON jobs (run_at) WHERE status IN ('scheduled', 'retrying');
CREATE INDEX jobs_suspect ON jobs (rank, id) WHERE status = 'pending' AND reason = 'rescued' AND interruptions >= 2;
CREATE INDEX jobs_expiry ON jobs (start_by)
  WHERE start_by IS NOT NULL AND status IN ('waiting', 'scheduled', 'pending', 'retrying');
-- Lists merge the heads of the (type, status) pairs that the filter names; counts tells which exist.
CREATE INDEX jobs_list ON jobs (type, status, id) WHERE status <> 'processing';
-- No more of them than there are slots.
CREATE INDEX jobs_running ON jobs (type, id) WHERE status = 'processing';
CREATE INDEX jobs_batch ON jobs (batch_id, id) WHERE batch_id IS NOT NULL;
-- Those that ended first go first.
CREATE INDEX jobs_final ON jobs (type, status, finished_at, id) WHERE finished_at IS NOT NULL;
-- The pending jobs of a concurrency key in their order.
CREATE INDEX jobs_turn ON jobs (concurrency_key, rank, id) WHERE status = 'pending' AND concurrency_key IS NOT NULL;
CREATE INDEX jobs_schedule ON jobs (schedule, id)
  WHERE schedule IS NOT NULL AND status IN ('waiting', 'scheduled', 'pending', 'processing', 'retrying');

-- Runs after which their job went on, deleted with it. The one that goes on, and the last one of a final job, are in the
-- row of the job; those of a job that came from a file are all here.
CREATE TABLE attempts (
  id            text COLLATE "C" NOT NULL,
  run           integer NOT NULL,
  attempt       integer NOT NULL,
  node          text NOT NULL,
  slot          integer NOT NULL,
  started_at    bigint NOT NULL,
  finished_at   bigint NOT NULL,
  outcome       text NOT NULL,
  reason        text NOT NULL,
  -- NULL where the first release wrote it, into a file that was transferred.
  reason_detail text,
  error         text,
  PRIMARY KEY (id, run)
);

-- Kept, never counted, by status and type: what is there, and what ever ended so. Each node writes two parts, all
-- together are the counts: nodes seldom wait for each other's row.
CREATE TABLE counts (
  part   integer NOT NULL,
  status text NOT NULL,
  type   text COLLATE "C" NOT NULL,
  n      bigint NOT NULL,
  bytes  bigint NOT NULL,
  ever   bigint NOT NULL,
  PRIMARY KEY (part, status, type)
) WITH (fillfactor = 50);

-- A node is alive until its lease is over, by the clock of this server.
CREATE TABLE nodes (
  id           text COLLATE "C" PRIMARY KEY,
  started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease        interval NOT NULL,
  -- Since when it beats without a gap.
  steady_since timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- The latest version of the schema that it knows.
  knows        integer NOT NULL,
  -- What it tells of itself, JSON.
  about        text NOT NULL,
  -- What others ask of it; `orders` grows with each wish.
  orders       integer NOT NULL DEFAULT 0,
  max_workers  integer,
  draining     boolean NOT NULL DEFAULT false
);

-- Keys by which a submission finds the job that an earlier one made: 'idempotency' (owned by an API key) or 'unique'
-- (owned by a job type). Upkeep may forget what is released and has expired.
CREATE TABLE keys (
  kind        text NOT NULL,
  owner       text COLLATE "C" NOT NULL,
  key         text COLLATE "C" NOT NULL,
  id          text COLLATE "C" NOT NULL,
  fingerprint text,
  expires_at  bigint NOT NULL,
  released    boolean NOT NULL,
  PRIMARY KEY (owner, key, kind)
);
CREATE INDEX keys_job ON keys (id);
CREATE INDEX keys_expiry ON keys (expires_at) WHERE released;

-- What is not claimed for the time being: jobs of a type, or of all types, which is the row ''.
CREATE TABLE pauses (type text COLLATE "C" PRIMARY KEY);

-- Who holds a concurrency key: from its first start until it is final.
CREATE TABLE key_holders (key text COLLATE "C" PRIMARY KEY, id text COLLATE "C" NOT NULL);

-- What jobs that are waiting wait for; `open` until that job is final.
CREATE TABLE dependencies (
  id    text COLLATE "C" NOT NULL,
  on_id text COLLATE "C" NOT NULL,
  open  boolean NOT NULL,
  PRIMARY KEY (id, on_id)
);
CREATE INDEX dependents ON dependencies (on_id, open);

-- Final jobs with more dependents than one transaction tells: the rest is told by upkeep.
CREATE TABLE unblocking (on_id text COLLATE "C" PRIMARY KEY, status text NOT NULL);

CREATE TABLE batches (
  id          text COLLATE "C" PRIMARY KEY,
  created_at  bigint NOT NULL,
  -- The node that still adds jobs to it.
  open_by     text COLLATE "C",
  -- It was cancelled while it was open.
  refuses     boolean NOT NULL DEFAULT false,
  -- The job that waits for the end of all others.
  on_complete text COLLATE "C",
  -- Its jobs that were not deleted; the columns below count all that there ever were, by status.
  stored      bigint NOT NULL DEFAULT 0,
  waiting     bigint NOT NULL DEFAULT 0,
  scheduled   bigint NOT NULL DEFAULT 0,
  pending     bigint NOT NULL DEFAULT 0,
  processing  bigint NOT NULL DEFAULT 0,
  retrying    bigint NOT NULL DEFAULT 0,
  completed   bigint NOT NULL DEFAULT 0,
  failed      bigint NOT NULL DEFAULT 0,
  cancelled   bigint NOT NULL DEFAULT 0
);
CREATE INDEX batches_open ON batches (open_by) WHERE open_by IS NOT NULL;
CREATE INDEX batches_on_complete ON batches (on_complete) WHERE on_complete IS NOT NULL;

CREATE TABLE tags (
  id  text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
  tag text COLLATE "C" NOT NULL,
  PRIMARY KEY (id, tag)
);
CREATE INDEX tagged ON tags (tag, id);

-- When jobs of a type with a rate were started.
CREATE TABLE starts (type text COLLATE "C" NOT NULL, at bigint NOT NULL);
CREATE INDEX starts_type ON starts (type, at);

-- What a handler kept for the runs after it.
CREATE TABLE checkpoints (id text COLLATE "C" PRIMARY KEY REFERENCES jobs ON DELETE CASCADE, value text NOT NULL);

CREATE TABLE logs (
  id      text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
  run     integer NOT NULL,
  line    integer NOT NULL,
  at      bigint NOT NULL,
  message text NOT NULL,
  PRIMARY KEY (id, run, line)
);

CREATE TABLE schedules (
  name       text COLLATE "C" PRIMARY KEY,
  -- Who defined it, and may change it: 'config' or 'http'.
  source     text NOT NULL,
  -- As it was put, JSON.
  document   text NOT NULL,
  -- Where a grid without `start_at` begins: when this timing was first put.
  anchor     bigint NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  -- Since when it is paused, or NULL.
  paused_at  bigint,
  -- The next tick; while it is paused, the one that would have been next. NULL: there is none, or not before a run has ended.
  next_at    bigint,
  -- Milliseconds from the end of a run to the next tick; NULL where ticks do not wait for runs.
  delay      bigint,
  -- What its runs came to, JSON; NULL before the first has ended.
  totals     text
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL AND paused_at IS NULL;

-- The key makes a tick one tick, whichever node fires it.
CREATE TABLE ticks (
  schedule text COLLATE "C" NOT NULL REFERENCES schedules ON DELETE CASCADE,
  tick_at  bigint NOT NULL,
  -- A person asked for it; its time is when.
  asked    boolean NOT NULL,
  -- The last tick of a span that is one record.
  until    bigint NOT NULL,
  job_id   text,
  -- Why it ran, or did not.
  reason   text NOT NULL,
  PRIMARY KEY (schedule, tick_at, asked)
);

-- What happened since the last mail of each digest.
CREATE TABLE digests (
  name     text COLLATE "C" PRIMARY KEY,
  -- Of the events that wait.
  bytes    bigint NOT NULL,
  -- Events that had no room since the last mail: counted, and nothing else.
  unlisted bigint NOT NULL,
  -- The last event that went into a mail: who takes events names the one that was read.
  taken    bigint NOT NULL
);

CREATE TABLE digest_events (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  digest     text COLLATE "C" NOT NULL,
  kind       text NOT NULL,
  text       text NOT NULL,
  created_at bigint NOT NULL,
  bytes      bigint NOT NULL
);
CREATE INDEX digest_events_waiting ON digest_events (digest, id);

-- The SQLite file whose jobs are being transferred here, or were: no node starts before all of them have come.
CREATE TABLE transfers (
  -- It stands beside the file as well.
  name        text PRIMARY KEY,
  file        text NOT NULL,
  begun_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- The last row that has come, JSON; NULL before the first.
  reached     text,
  finished_at timestamptz
);
