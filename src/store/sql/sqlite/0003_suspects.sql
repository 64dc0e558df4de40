-- Jobs that a crash brought back more than once: they run alone for a while.
CREATE INDEX jobs_suspect ON jobs (rank, id) WHERE status = 'pending' AND reason = 'rescued' AND interruptions >= 2;
