-- What a scope's throttle learned, and groups with a limit of their own.

ALTER TABLE holds ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';

CREATE TABLE groups (
    name TEXT PRIMARY KEY,
    parallel INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The job that must have completed before this one begins, or ''.
ALTER TABLE jobs ADD COLUMN after_job TEXT NOT NULL DEFAULT '';
