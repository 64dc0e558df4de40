-- Artifacts in pieces of 256 KiB, the last one of a file shorter. `file` is the number of the artifact in its run, `n`
-- that of the piece. Readers cut pieces, and files may be packed already: so nothing is compressed.
-- Nodes that know version 3 can work with it.
CREATE TABLE artifact_chunks (
  id   text COLLATE "C" NOT NULL,
  run  integer NOT NULL,
  file integer NOT NULL,
  n    integer NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (id, run, file, n)
);
ALTER TABLE artifact_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

-- Runs whose chunks may count no more: those that have begun to send some, and those whose job was deleted or runs again.
-- Upkeep looks at them when they are over. No foreign key does it: to delete a gigabyte takes seconds, in which nothing
-- else would be written.
CREATE TABLE artifact_leftovers (
  id  text COLLATE "C" NOT NULL,
  run integer NOT NULL,
  PRIMARY KEY (id, run)
);
