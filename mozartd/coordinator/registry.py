"""Finding a job by what a person typed: an id, a unique prefix of one, or a score's name for its newest job.

Unfinished jobs are in the book; ended ones are read from the store, for as long as somebody looks at them.
"""

from __future__ import annotations

import difflib

from ipc.errors import MozartError
from ipc.states import JOB_ENDED
from mozartd.coordinator.book import Book
from mozartd.coordinator.model import Job, Sheet
from mozartd.coordinator.steps import apart
from mozartd.store.store import Row, Store


class Registry:
    def __init__(self, book: Book, store: Store) -> None:
        self._book = book
        self._store = store
        self.forgetting: set[str] = set()
        """Ended jobs whose rows are being removed: nobody may bring them back to life."""

    async def find(self, typed: str) -> Job:
        """Without its sheets when it has ended. Raises MozartError `unknown_job` with the nearest names."""
        job = self._book.jobs.get(typed)
        return job if job is not None else self._as_known(await self._row(typed))

    async def find_whole(self, typed: str) -> Job:
        """With its sheets."""
        job = await self.find(typed)
        if not job.sheets:
            rows = await self._store.read("sheets_of", seq=job.seq, after=0, limit=-1)
            # In a thread: 100,000 sheets take a second.
            await apart(len(rows), lambda: job.take([Sheet.of(row) for row in rows]))
            self.refuse_if_forgotten(job.id)
        # Somebody else may have brought it back to life meanwhile.
        return self._book.jobs.get(job.id, job)

    def _as_known(self, row: Row) -> Job:
        known = self._book.jobs.get(row["id"])
        if known is None:
            self.refuse_if_forgotten(row["id"])
            known = Job.of(row)
            # On disk and not in the book: it is being submitted, and nobody can mean it yet.
            if known.state not in JOB_ENDED:
                raise MozartError("unknown_job", f"cannot find a job {row['id']!r} yet", "ask again in a moment")
        return known

    def refuse_if_forgotten(self, job: str) -> None:
        """Raises MozartError `unknown_job`."""
        if job in self.forgetting:
            hint = "see the settings history_jobs and history_days"
            raise MozartError("unknown_job", f"cannot find a job {job!r} any more: it is being forgotten", hint)

    async def _row(self, typed: str) -> Row:
        row = await self._store.read_one("job_by_id", job=typed)
        row = row or await self._store.read_one("newest_job_named", name=typed)
        if row is None:
            rows = await self._with_prefix(typed)
            if len(rows) > 1:
                ids = ", ".join(row["id"] for row in rows[:5])
                raise MozartError("ambiguous_job", f"cannot tell which job {typed!r} is: {ids}", "type more of the id")
            row = rows[0] if rows else None
        if row is None:
            raise MozartError("unknown_job", f"cannot find a job {typed!r}", await self._hint(typed))
        return row

    async def _with_prefix(self, typed: str) -> list[Row]:
        if not typed:
            return []
        rows = await self._store.read("jobs_with_prefix", prefix=typed, upper=typed + "\U0010ffff")
        return [row for row in rows if not _is_cut_in_number(typed, row["id"])]

    async def _hint(self, typed: str) -> str:
        rows = await self._store.read("recent_ids")
        known = {row["id"]: None for row in rows} | {row["name"]: None for row in rows}
        near = difflib.get_close_matches(typed, known, n=3)
        return f"did you mean {', '.join(near)}?" if near else "`mozart list --all` shows every job"


def _is_cut_in_number(typed: str, job: str) -> bool:
    """Who types the id of a job that is forgotten, `hello-1`, does not mean `hello-12`."""
    return typed[-1].isdigit() and job[len(typed) :].isdigit()
