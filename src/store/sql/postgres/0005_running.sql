-- Jobs that run are counted as pending, and a claim counts nothing: how many of these run, the jobs tell. What belongs to a
-- job is deleted by who deletes the job: a foreign key would be looked at with every change of a job.
-- A node that knows less, and was taken for dead, can neither beat nor count when it comes back.
-- Nodes that know version 5 can work with it.
LOCK TABLE jobs, tags, checkpoints, logs IN ACCESS EXCLUSIVE MODE;
INSERT INTO counts SELECT part, 'pending', type, n, bytes, ever FROM counts WHERE status = 'processing'
ON CONFLICT (part, status, type) DO UPDATE SET n = counts.n + excluded.n, bytes = counts.bytes + excluded.bytes;
DELETE FROM counts WHERE status = 'processing';
ALTER TABLE counts ADD CHECK (status <> 'processing');
ALTER TABLE nodes ADD CHECK (knows >= 5) NOT VALID;

ALTER TABLE tags DROP CONSTRAINT tags_id_fkey;
ALTER TABLE checkpoints DROP CONSTRAINT checkpoints_id_fkey;
ALTER TABLE logs DROP CONSTRAINT logs_id_fkey;
