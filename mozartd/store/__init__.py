"""The one SQLite file: jobs, sheets, attempts, holds, events. Never log bytes.

`store.Store` is the only writer and lives in the coordinator. SQL is in `sql/*.sql` (named statements) and `migrations/`.
"""
