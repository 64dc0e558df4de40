-- One row, of the first node or of the file whose jobs were brought: whose jobs these are. A folder of artifacts is one
-- service's.
-- Nodes that know version 3 can work with it.
CREATE TABLE service (id text COLLATE "C" PRIMARY KEY);
