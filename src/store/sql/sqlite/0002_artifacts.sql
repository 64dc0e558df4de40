-- Artifacts, what jobs take on disk, and the order in which final jobs are pruned.
ALTER TABLE jobs ADD COLUMN artifacts TEXT;
ALTER TABLE jobs ADD COLUMN payload_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN reason_detail TEXT;
ALTER TABLE counts ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;

UPDATE jobs SET payload_bytes = length(CAST(payload AS BLOB)),
  bytes = length(CAST(payload AS BLOB)) + coalesce(length(CAST(result AS BLOB)), 0);
UPDATE counts SET bytes = coalesce(
  (SELECT sum(bytes) FROM jobs WHERE jobs.status = counts.status AND jobs.type = counts.type), 0);

-- Those that ended first go first. Only final jobs have ended; a condition on `status` would not let a bound one use it.
CREATE INDEX jobs_final ON jobs (type, status, finished_at, id) WHERE finished_at IS NOT NULL;

DROP TRIGGER jobs_inserted;
DROP TRIGGER jobs_moved;
DROP TRIGGER jobs_deleted;

CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs BEGIN
  INSERT INTO counts VALUES (NEW.status, NEW.type, 1, NEW.bytes)
  ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + NEW.bytes;
END;

CREATE TRIGGER jobs_moved AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status BEGIN
  UPDATE counts SET n = n - 1, bytes = bytes - OLD.bytes WHERE status = OLD.status AND type = OLD.type;
  INSERT INTO counts VALUES (NEW.status, NEW.type, 1, NEW.bytes)
  ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + NEW.bytes;
END;

CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
  UPDATE counts SET n = n - 1, bytes = bytes - OLD.bytes WHERE status = OLD.status AND type = OLD.type;
  DELETE FROM attempts WHERE id = OLD.id;
END;
