"""The one owner of every shared fact, in one process with one loop and no locks.

In reading order: `model` (what a job, a sheet, an attempt is), `book` (all of them, and the only place where a state changes),
`schedule` and `retry` (pure decisions), `settle` (a report becomes changes), `turn` (changes become rows, frames and answers),
`crew` (the workers), `journal` (what happened), `followers` (who watches), `clients` and `requests/` (who asks), `main`.
"""
