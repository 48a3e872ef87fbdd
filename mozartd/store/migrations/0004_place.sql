-- Where a job stands among those that have not begun: 0, or what a person said; the smaller goes first.

ALTER TABLE jobs ADD COLUMN place REAL NOT NULL DEFAULT 0;
