-- Jobs, their scores, sheets, attempts, holds, and the log of what happened.

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, also when the newest job was pruned
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    wanted TEXT NOT NULL,            -- 'cancel' while a cancellation is under way, else ''
    score_path TEXT NOT NULL,
    workspace TEXT NOT NULL,
    priority INTEGER NOT NULL,
    group_name TEXT NOT NULL,
    submitted_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    not_before REAL NOT NULL,        -- pause_between_sheets_seconds after the last sheet's end
    counts TEXT NOT NULL,            -- JSON {sheet state: count}
    cost_usd REAL,                   -- NULL = unknown
    tokens TEXT NOT NULL,            -- JSON {input, output, cache_read, cache_write}
    policy TEXT NOT NULL             -- JSON: what scheduling and retrying need of the score
) STRICT;

CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_name ON jobs (name, seq);

CREATE TABLE scores (
    seq INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    score TEXT NOT NULL,             -- the normalised score, JSON
    source TEXT NOT NULL,            -- what the user wrote
    environment TEXT NOT NULL        -- JSON: the submitter's variables named by submit_env
) STRICT;

CREATE TABLE sheets (
    seq INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    n INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    instance INTEGER NOT NULL,
    fan_count INTEGER NOT NULL,
    start_item INTEGER NOT NULL,
    end_item INTEGER NOT NULL,
    dependencies TEXT NOT NULL,      -- JSON [n, ...]
    scope TEXT NOT NULL,             -- whose limits it shares: backend/account/model
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    until REAL,
    k INTEGER NOT NULL,              -- attempts so far
    history TEXT NOT NULL,           -- JSON: retries, completions, waits, interruptions spent; mode and session of the next attempt
    last TEXT NOT NULL,              -- JSON of ipc.messages.LastAttempt, or 'null'
    cost_usd REAL,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    seq INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    n INTEGER NOT NULL,
    k INTEGER NOT NULL,
    state TEXT NOT NULL,             -- running, ended
    mode TEXT NOT NULL,
    worker TEXT NOT NULL,
    assigned_at REAL NOT NULL,
    facts TEXT NOT NULL,             -- JSON: pids while it runs, the report when it has ended
    PRIMARY KEY (seq, n, k)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_running ON attempts (state) WHERE state = 'running';

CREATE TABLE holds (
    scope TEXT PRIMARY KEY,
    since REAL NOT NULL,
    until REAL NOT NULL,
    reason TEXT NOT NULL,
    evidence TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    job TEXT,
    sheet INTEGER,
    attempt INTEGER,
    data TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_job ON events (job, id);
