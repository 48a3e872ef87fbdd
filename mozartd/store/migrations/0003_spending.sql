-- What each scope used on the last local day it was used: daemon-wide budgets.

CREATE TABLE spending (
    scope TEXT PRIMARY KEY,
    day TEXT NOT NULL,
    usd REAL NOT NULL,
    tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
