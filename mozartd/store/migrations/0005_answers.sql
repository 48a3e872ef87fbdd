-- What was answered to a request that carried a key, for who has lost the answer and asks again.

CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    at REAL NOT NULL,
    answer TEXT NOT NULL             -- JSON
) STRICT, WITHOUT ROWID;

CREATE INDEX answers_by_time ON answers (at);
