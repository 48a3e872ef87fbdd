"""A coordinator without processes, for tests of what it decides: the real book, plan, retry and settle, a fake clock, a disk of
rows, and workers made of data."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
from hypothesis import strategies as st

from ipc.errors import MozartError
from ipc.states import JOB_ENDED, SHEET_SATISFIED, SHEET_TRANSITIONS
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from mozartd.coordinator import recovery
from mozartd.coordinator.book import Book
from mozartd.coordinator.caps import Caps
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt, Job, Sheet
from mozartd.coordinator.requests.cancel import cancel
from mozartd.coordinator.requests.retry import choose, revive
from mozartd.coordinator.schedule import plan
from mozartd.coordinator.settle import interrupt, settle
from mozartd.store.store import Write
from tests.unit.scenes import check_book, report, rule

#: How an attempt may end, and how often: mostly well, or nothing would ever get far.
ENDINGS: dict[str, dict[str, Any]] = {
    "ok": {},
    "passed": {"rules": [rule()], "verdict": "failed", "code": "E009", "exit_code": 1},
    "nearly": {"rules": [rule(), rule(False)]},
    "failed": {"verdict": "failed", "code": "E009", "exit_code": 1},
    "hopeless": {"verdict": "missing", "code": "E505", "exit_code": None},
    "limited": {
        "verdict": "rate_limited",
        "code": "E101",
        "limit": {"until": None, "retry_after": 30.0, "kind": "requests"},
    },
    "interrupted": {"verdict": "interrupted", "code": "E004"},
    "cancelled": {"verdict": "cancelled", "code": "E004"},
    "skipped": {"verdict": "skipped", "message": "its command said so"},
}
SOME_ENDING = st.sampled_from(
    ["ok", "ok", "ok", "passed", "nearly", "failed", "failed", "hopeless", "limited", "skipped"]
)


class World:
    """A coordinator without processes: `rows` is its disk, `running` in the book its workers' work."""

    def __init__(self, credit: int = 4) -> None:
        self.now = 1e6
        self.credit = credit
        self.disk: dict[str, dict[Any, dict[str, Any]]] = {"job": {}, "sheet": {}, "attempt": {}, "hold": {}}
        self.journal = Journal(0)
        self.book = Book(self.journal, 0)
        self.limits = Limits(self.journal)
        self.skips: set[int] = set()
        self.ended: dict[str, Job] = {}
        self.failed_fast: set[str] = set()
        """Jobs of which a sheet failed with fail_fast on."""
        self.unwanted: set[tuple[str, int]] = set()
        """(job, sheet) whose cancellation was acknowledged."""

    def submit(self, job: Job) -> None:
        for write in [("put_job", job.row()), *(("put_sheet", sheet.row(job.seq)) for sheet in job.sheets.values())]:
            self._write(write)
        self.book.add(job)
        self.turn()

    # -- a turn, as `turn.Turn` makes it

    def turn(self) -> float | None:
        """Everything that follows from what happened; when time alone will make more happen."""
        self.book.ripen(self.now)
        self.limits.end_due(self.now)
        while starts := self._plan():
            for job, n in starts:
                self._start(job, job.sheets[n])
        self._commit()
        check_book(self.book)
        self._check_limits()
        times = (self.book.board.next_time(), self.book.next_ripe(), self.limits.next_time(self.now))
        return min((when for when in times if when is not None), default=None)

    def _plan(self) -> list[tuple[Job, int]]:
        self.book.board.settle(self.now)
        caps = Caps(self.book, self.limits, {}, {}, None, self.now)
        return plan(self.book.board, caps, self.credit - len(self.book.running), self.now)

    def _start(self, job: Job, sheet: Sheet) -> None:
        assert job.state in (JobState.QUEUED, JobState.RUNNING)
        assert all(job.sheets[n].state in SHEET_SATISFIED for n in sheet.dependencies)
        assert job.id not in self.failed_fast, "started, also not again, although another failed and fail_fast is on"
        assert (job.id, sheet.n) not in self.unwanted, "started although somebody was told that it is cancelled"
        if sheet.n in self.skips:
            self.book.change_sheet(job, sheet, "skip", self.now, "skip_when")
            self.book.end_if_over(job, self.now)
            return
        attempt = self.book.start(job, sheet, "worker", self.now)
        attempt.ordinal = self.limits.start(sheet.scope)

    def _commit(self) -> None:
        for write in self.book.take_changes() + self.limits.take_changes():
            self._write(write)
        events = self.journal.take_unwritten()
        self.journal.publish(events)
        for job in self.book.take_settled():
            self.book.forget(job)
            if job.state in JOB_ENDED:
                self.ended[job.id] = job
        self._check_disk()

    def _check_disk(self) -> None:
        """The disk says what memory says."""
        for job in self.book.jobs.values():
            assert said(self.disk["job"][job.seq,]) == said(job.row())
            for n, sheet in job.sheets.items():
                assert self.disk["sheet"][job.seq, n] == sheet.row(job.seq)
        running = {key for key, row in self.disk["attempt"].items() if row["state"] == "running"}
        assert running == {(attempt.seq, attempt.n, attempt.k) for attempt in self.book.running.values()}
        held = {throttle.scope: throttle.until for throttle in self.limits.held(self.now)}
        assert {scope: until for scope, until in held.items() if self.disk["hold"][scope,]["until"] == until} == held

    def _write(self, write: Write) -> None:
        name, row = write
        table = name.partition("_")[2]
        keys = {"job": ("seq",), "sheet": ("seq", "n"), "attempt": ("seq", "n", "k"), "hold": ("scope",)}[table]
        self.disk[table][tuple(row[key] for key in keys)] = dict(row)

    def _check_limits(self) -> None:
        assert len(self.book.running) <= self.credit
        for job in self.book.jobs.values():
            assert len(job.running) <= job.policy.max_concurrent

    # -- what may happen

    def finish(self, attempt: Attempt, ending: str) -> None:
        job, _ = self.book.find(attempt)
        failed_before = job.count(SheetState.FAILED)
        ended = report(attempt=attempt.id, ended_at=self.now, **ENDINGS[ending])
        settle(self.book, self.limits, attempt, ended, self.now, 0.5)
        if job.policy.fail_fast and job.count(SheetState.FAILED) > failed_before:
            self.failed_fast.add(job.id)
        self.turn()

    def lose(self, attempt: Attempt) -> None:
        interrupt(self.book, self.limits, attempt, "its worker died", self.now)
        self.turn()

    def cancel(self, job: Job, numbers: list[int]) -> None:
        stopped = self.wish(job, numbers)
        for sheet in [sheet for sheet in stopped if sheet.state is SheetState.RUNNING]:
            self.finish(self.book.running[f"{job.id}:{sheet.n}:{sheet.k}"], "cancelled")
        self.turn()

    def wish(self, job: Job, numbers: list[int]) -> list[Sheet]:
        """A cancellation as far as it is acknowledged: what runs is told to stop and has not answered."""
        stopped = cancel(self.book, job, numbers, self.now)
        self.turn()
        self.unwanted.update((job.id, sheet.n) for sheet in stopped)
        return stopped

    def retry(self, job: Job, numbers: list[int], first: int | None) -> None:
        try:
            chosen = choose(job, numbers, first)
        except MozartError:
            return
        self.failed_fast.discard(job.id)
        self.unwanted.difference_update((job.id, sheet.n) for sheet in chosen)
        del self.ended[job.id]
        self.book.add(job)
        revive(self.book, job, chosen, self.now)
        self.turn()

    def restart(self, alive: bool) -> None:
        """The coordinator dies; its successor finds the disk, and the worker alive or not."""
        self.journal = Journal(self.journal.last_published)
        self.book = Book(self.journal, len(self.disk["job"]))
        self.limits = Limits(self.journal, self.disk["hold"].values())
        for (seq,), row in sorted(self.disk["job"].items()):
            job = Job.of(row)
            if job.state not in JOB_ENDED:
                job.take([Sheet.of(sheet) for (of, _), sheet in sorted(self.disk["sheet"].items()) if of == seq])
                self.book.add(job)
        for row in self.disk["attempt"].values():
            if row["state"] == "running":
                attempt = Attempt.of({**row, "job": f"job-{row['seq']}"})
                self.book.run(attempt)
                attempt.ordinal = self.limits.start(self.book.find(attempt)[1].scope)
        recovery.repair(self.book, self.limits, ["worker"] if alive else [], self.now)
        self.turn()

    # -- to the end

    def run(self, ending: str = "ok", most: int = 10_000) -> None:
        """Let every attempt end so, and time pass, until nothing happens by itself any more."""
        for _ in range(most):
            wake_at = self.turn()
            if self.book.running:
                self.finish(next(iter(self.book.running.values())), ending)
            elif wake_at is not None:
                self.now = max(self.now, wake_at)
            else:
                break
        else:
            raise AssertionError(f"not at rest after {most} steps: {self.book.jobs}")
        stuck = [job for job in self.book.jobs.values() if job.state is not JobState.PAUSED]
        assert not stuck, f"nothing will ever happen to {stuck}"


def said(row: dict[str, Any]) -> dict[str, Any]:
    """A job's row without the order of what it counts."""
    return {**row, "counts": orjson.loads(row["counts"])}


def check_end(world: World) -> None:
    """Paused jobs wait for a person, who cancels them; the rest has ended."""
    for job in list(world.book.jobs.values()):
        world.cancel(job, [])
    assert not world.book.jobs
    assert not world.book.running
    for job in world.ended.values():
        counts = Counter(sheet.state for sheet in job.sheets.values())
        assert all((state, "retry") in SHEET_TRANSITIONS for state in counts), f"{counts} is not an end"
        assert said(world.disk["job"][job.seq,]) == said(job.row())
        if job.state is JobState.COMPLETED:
            assert set(counts) <= SHEET_SATISFIED
        if job.state is JobState.FAILED:
            assert counts[SheetState.FAILED]
