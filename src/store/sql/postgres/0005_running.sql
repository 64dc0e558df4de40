-- Jobs that run are counted as pending, and a claim counts nothing: how many of these run, the jobs tell. What belongs to a
-- job is deleted by who deletes the job: a foreign key would be looked at with every change of a job.
-- Nodes that know version 5 can work with it.
INSERT INTO counts SELECT part, 'pending', type, n, bytes, ever FROM counts WHERE status = 'processing'
ON CONFLICT (part, status, type) DO UPDATE SET n = counts.n + excluded.n, bytes = counts.bytes + excluded.bytes;
DELETE FROM counts WHERE status = 'processing';

ALTER TABLE tags DROP CONSTRAINT tags_id_fkey;
ALTER TABLE checkpoints DROP CONSTRAINT checkpoints_id_fkey;
ALTER TABLE logs DROP CONSTRAINT logs_id_fkey;
