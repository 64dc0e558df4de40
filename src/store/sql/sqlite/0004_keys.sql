-- Keys by which a submission finds the job that an earlier one made. They go with their job.
CREATE TABLE keys (
  -- 'idempotency' (owned by an API key) or 'unique' (owned by a job type).
  kind        TEXT NOT NULL,
  owner       TEXT NOT NULL,
  key         TEXT NOT NULL,
  id          TEXT NOT NULL,
  fingerprint TEXT,
  expires_at  INTEGER NOT NULL,
  PRIMARY KEY (kind, owner, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_job ON keys (id);
CREATE INDEX keys_expiry ON keys (expires_at);

CREATE TRIGGER keys_deleted AFTER DELETE ON jobs BEGIN
  DELETE FROM keys WHERE id = OLD.id;
END;
