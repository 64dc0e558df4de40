-- What is kept longer: an Idempotency-Key than its job, and a job that others depend on until those are final.

-- Nobody but the window holds it any more: upkeep may forget it then. A unique key is held by its job until that is final.
ALTER TABLE keys ADD COLUMN released INTEGER NOT NULL DEFAULT 1;
UPDATE keys SET released = 0 WHERE kind = 'unique'
  AND id IN (SELECT id FROM jobs WHERE status NOT IN ('completed', 'failed', 'cancelled'));
DROP INDEX keys_expiry;
CREATE INDEX keys_expiry ON keys (expires_at) WHERE released = 1;

DROP TRIGGER keys_deleted;
CREATE TRIGGER keys_deleted AFTER DELETE ON jobs BEGIN
  DELETE FROM keys WHERE id = OLD.id AND kind = 'unique';
END;

CREATE TRIGGER keys_released AFTER UPDATE OF status ON jobs
WHEN (OLD.status IN ('completed', 'failed', 'cancelled')) <> (NEW.status IN ('completed', 'failed', 'cancelled')) BEGIN
  UPDATE keys SET released = NEW.status IN ('completed', 'failed', 'cancelled') WHERE id = NEW.id AND kind = 'unique';
END;

DROP TRIGGER jobs_unblocked;
CREATE TRIGGER dependencies_over AFTER UPDATE OF status ON jobs
WHEN NEW.depends_on IS NOT NULL AND NEW.status IN ('completed', 'failed', 'cancelled') BEGIN
  DELETE FROM dependencies WHERE id = NEW.id;
END;
