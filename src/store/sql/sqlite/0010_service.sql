-- One row: whose jobs these are. A folder of artifacts is one service's.
CREATE TABLE service (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO service VALUES (lower(hex(randomblob(16))));
