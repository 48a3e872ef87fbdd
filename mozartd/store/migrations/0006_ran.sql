-- The time in which something of a job ran, and since when something does: not what lies between a failure and a retry.
ALTER TABLE jobs ADD COLUMN ran_seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN ran_since REAL;
UPDATE jobs SET ran_seconds = max(0, ended_at - started_at) WHERE started_at IS NOT NULL AND ended_at IS NOT NULL;
UPDATE jobs SET ran_since = started_at WHERE started_at IS NOT NULL AND state = 'running';
