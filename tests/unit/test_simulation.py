"""The real book, plan, retry and settle with a fake clock and workers made of data: whatever happens, every job ends.

Hypothesis draws the jobs and what happens to them: verdicts, lost workers, limits, cancellations, retries, restarts. After
each step everything that can be derived is derived again and compared; restarts read what was written and nothing else.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
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
from tests.unit.scenes import chain, check_book, fan_outs, graphs, make_job, report, rule

#: Whatever is drawn, it is bounded by steps: only a machine that is held up takes longer than its usual few seconds.
pytestmark = pytest.mark.timeout(300)

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


# ---- anything may happen --------------------------------------------------------------------------------------------


@st.composite
def jobs(draw: st.DrawFn, seq: int) -> Job:
    graph = draw(graphs(7) | fan_outs())
    scopes = dict.fromkeys(graph, draw(st.sampled_from(["a/x/m", "b/x/m"])))
    return make_job(
        graph, seq, draw(st.integers(-20, 20)), scopes,
        max_concurrent=draw(st.sampled_from([1, 1, 2, 3, 10])), fail_fast=draw(st.booleans()),
        pause_seconds=draw(st.sampled_from([0.0, 0.0, 10.0])), full_attempts=draw(st.integers(1, 3)),
        max_completions=draw(st.integers(0, 2)), max_waits=draw(st.integers(1, 3)),
    )  # fmt: skip


def one_running(data: st.DataObject, world: World) -> Attempt:
    return data.draw(st.sampled_from(list(world.book.running.values())))


def finish(data: st.DataObject, world: World) -> None:
    if world.book.running:
        world.finish(one_running(data, world), data.draw(SOME_ENDING))


def lose(data: st.DataObject, world: World) -> None:
    if world.book.running:
        world.lose(one_running(data, world))


def pass_time(data: st.DataObject, world: World) -> None:
    wake_at = world.turn()
    if wake_at is not None:
        world.now = max(world.now, wake_at)
        world.turn()


def cancel_some(data: st.DataObject, world: World) -> None:
    if world.book.jobs:
        job = data.draw(st.sampled_from(list(world.book.jobs.values())))
        alive = [n for n, sheet in job.sheets.items() if (sheet.state, "cancel") in SHEET_TRANSITIONS]
        act = data.draw(st.sampled_from([world.cancel, world.wish]))
        act(job, data.draw(st.just([]) | st.lists(st.sampled_from(alive), max_size=3, unique=True)))


def retry_some(data: st.DataObject, world: World) -> None:
    if world.ended:
        job = data.draw(st.sampled_from(list(world.ended.values())))
        numbers = data.draw(st.lists(st.sampled_from(list(job.sheets)), max_size=3))
        first = data.draw(st.none() | st.sampled_from(list(job.sheets))) if not numbers else None
        world.retry(job, numbers, first)


def restart(data: st.DataObject, world: World) -> None:
    world.restart(data.draw(st.booleans()))


def jump(data: st.DataObject, world: World) -> None:
    """The clock is set, forward or back."""
    world.now += data.draw(st.sampled_from([-900.0, -60.0, 60.0, 900.0]))


HAPPENINGS = [finish] * 5 + [pass_time, pass_time, lose, cancel_some, retry_some, restart, jump]


@settings(max_examples=150)
@given(st.data())
def test_whatever_happens_every_job_ends(data: st.DataObject) -> None:
    world = World(data.draw(st.integers(1, 6)))
    world.skips = data.draw(st.sets(st.integers(1, 7), max_size=2))
    for seq in range(1, data.draw(st.integers(1, 2)) + 1):
        world.submit(data.draw(jobs(seq)))
    for happen in data.draw(st.lists(st.sampled_from(HAPPENINGS), max_size=40)):
        happen(data, world)
    world.run(data.draw(st.sampled_from(["ok", "failed", "nearly", "hopeless", "limited", "interrupted"])))
    check_end(world)


@settings(max_examples=60)
@given(graphs(10) | fan_outs(), st.booleans(), st.integers(1, 4), st.sets(st.integers(1, 10)))
def test_any_failures_in_any_dag(graph: dict[int, list[int]], fail_fast: bool, width: int, bad: set[int]) -> None:
    """Exactly what failed is failed; exactly what depends on it is blocked; without fail_fast the rest is done."""
    world = World()
    job = make_job(graph, fail_fast=fail_fast, max_concurrent=width)
    world.submit(job)
    while world.book.running:
        attempt = next(iter(world.book.running.values()))
        world.finish(attempt, "hopeless" if attempt.n in bad else "ok")
    check_end(world)
    behind = downstream(graph, bad)
    states = {n: job.sheets[n].state for n in graph}
    assert job.state is (JobState.FAILED if bad & set(graph) else JobState.COMPLETED)
    for n, state in states.items():
        if n in behind:
            assert state is SheetState.BLOCKED
        elif not fail_fast:
            assert state is (SheetState.FAILED if n in bad else SheetState.COMPLETED)
        else:
            assert state in (SheetState.FAILED, SheetState.COMPLETED, SheetState.BLOCKED)


def downstream(graph: dict[int, list[int]], bad: set[int]) -> set[int]:
    """What needs a bad sheet, directly or not; a bad sheet behind a bad one is blocked like any other."""
    behind: set[int] = set()
    while more := {n for n, needs in graph.items() if (bad | behind) & set(needs)} - behind:
        behind |= more
    return behind


@settings(max_examples=60)
@given(graphs(10), st.sets(st.integers(1, 10)), st.sets(st.integers(1, 10), min_size=1))
def test_any_choice_can_be_retried_and_ends_again(graph: dict[int, list[int]], bad: set[int], wanted: set[int]) -> None:
    world = World()
    job = make_job(graph, fail_fast=False, max_concurrent=3)
    world.submit(job)
    while world.book.running:
        attempt = next(iter(world.book.running.values()))
        world.finish(attempt, "hopeless" if attempt.n in bad else "ok")
    world.retry(job, sorted(wanted & set(graph)), None)
    world.run()
    check_end(world)


# ---- said in words --------------------------------------------------------------------------------------------------


def ended_with(graph: dict[int, list[int]], bad: set[int], **policy: Any) -> tuple[World, Job]:
    """A job after a run in which these sheets failed."""
    world = World()
    job = make_job(graph, **{"fail_fast": False, "max_concurrent": 4, **policy})
    world.submit(job)
    while world.book.running:
        attempt = next(iter(world.book.running.values()))
        world.finish(attempt, "hopeless" if attempt.n in bad else "ok")
    return world, job


def states(job: Job) -> dict[int, str]:
    return {n: sheet.state.value for n, sheet in job.sheets.items()}


def test_a_retried_sheet_does_not_leave_others_waiting_for_what_stays_failed() -> None:
    world, job = ended_with({1: [], 2: [], 3: [1], 4: [2]}, {1, 2})
    assert states(job) == {1: "failed", 2: "failed", 3: "blocked", 4: "blocked"}
    world.retry(job, [1], None)
    world.run()
    assert states(job) == {1: "completed", 2: "failed", 3: "completed", 4: "blocked"}
    assert job.state is JobState.FAILED


def test_a_sheet_behind_a_failed_one_is_not_retried_alone() -> None:
    _, job = ended_with({1: [], 2: [1]}, {1})
    with pytest.raises(MozartError, match="it needs sheet 1, which is failed") as caught:
        choose(job, [2], None)
    assert "retry sheet 1 too" in caught.value.hint
    assert [sheet.n for sheet in choose(job, [1, 2], None)] == [1, 2]
    assert [sheet.n for sheet in choose(job, [1], None)] == [1, 2]
    assert [sheet.n for sheet in choose(job, [], None)] == [1, 2]


def test_from_a_number_on() -> None:
    _, job = ended_with(chain(4), set())
    assert [sheet.n for sheet in choose(job, [], 3)] == [3, 4]
    with pytest.raises(MozartError, match="nothing in it failed"):
        choose(job, [], None)
    with pytest.raises(MozartError, match="has 4 sheets"):
        choose(job, [], 5)
    with pytest.raises(MozartError, match="has 4 sheets"):
        choose(job, [0], None)


def test_a_retry_grants_the_budgets_anew_and_keeps_the_numbers() -> None:
    world, job = ended_with({1: []}, set(), full_attempts=2)
    world.retry(job, [1], None)
    world.run("failed")
    assert states(job) == {1: "failed"}
    assert job.sheets[1].k == 3, "one that went well, then two full attempts"


def test_a_chain_of_ten_thousand_fails_at_its_head() -> None:
    world, begun = World(), time.process_time()
    job = make_job(chain(10_000))
    world.submit(job)
    (attempt,) = world.book.running.values()
    settle(world.book, world.limits, attempt, report(attempt=attempt.id, **ENDINGS["hopeless"]), world.now, 0.5)
    writes = world.book.take_changes()
    took = time.process_time() - begun
    assert job.state is JobState.FAILED
    assert job.counts["blocked"] == 9_999
    assert sum(name == "put_sheet" for name, _ in writes) == 10_000, "in one change"
    assert took < 3, "about 0.3 s on an idle machine"


def test_a_hundred_thousand_sheets_are_cancelled() -> None:
    world = World()
    world.book.add(make_job(100_000))
    (job,) = world.book.jobs.values()
    begun = time.process_time()
    cancel(world.book, job, [], world.now)
    assert time.process_time() - begun < 5, "about 1 s on an idle machine"
    assert job.state is JobState.CANCELLED


@pytest.mark.parametrize("alive", [True, False])
def test_a_cancellation_survives_a_restart(alive: bool) -> None:
    world = World()
    world.submit(make_job(3, max_concurrent=1))
    (job,) = world.book.jobs.values()
    cancel(world.book, job, [], world.now)
    world.turn()
    world.restart(alive)
    if alive:
        (attempt,) = world.book.running.values()
        world.finish(attempt, "interrupted")
    (job,) = world.ended.values()
    assert states(job) == {1: "cancelled", 2: "cancelled", 3: "cancelled"}


@pytest.mark.parametrize("alive", [True, False])
def test_the_cancellation_of_a_running_sheet_survives_a_restart(alive: bool) -> None:
    world = World()
    world.submit(make_job(3, max_concurrent=2))
    (job,) = world.book.jobs.values()
    world.wish(job, [1])
    world.restart(alive)
    (job,) = world.book.jobs.values()
    if alive:
        assert job.sheets[1].history.stopping == "cancel", "its worker is told again"
        world.finish(world.book.running["job-1:1:1"], "interrupted")
    world.run()
    (job,) = world.ended.values()
    assert states(job) == {1: "cancelled", 2: "completed", 3: "completed"}
    assert (job.state, job.reason) == (JobState.CANCELLED, "sheet 1 was cancelled")


def test_fail_fast_gives_a_running_sheet_no_other_attempt() -> None:
    world = World()
    world.submit(make_job(4, fail_fast=True, max_concurrent=3, full_attempts=3))
    (job,) = world.book.jobs.values()
    world.finish(world.book.running["job-1:1:1"], "hopeless")
    world.finish(world.book.running["job-1:2:1"], "failed")
    world.restart(alive=False)
    (job,) = world.ended.values()
    assert states(job) == {1: "failed", 2: "failed", 3: "blocked", 4: "blocked"}
    assert "fail_fast" in job.sheets[2].reason
    world.retry(job, [3], None)
    world.finish(world.book.running["job-1:3:2"], "failed")
    world.run()
    assert states(job)[3] == "completed", "a retry is a new beginning: what failed before it counts no more"


def test_a_failure_outweighs_a_cancellation() -> None:
    world, job = ended_with({1: [], 2: [], 3: []}, {1})
    world.retry(job, [2, 3], None)
    world.cancel(job, [2])
    world.run()
    assert states(job) == {1: "failed", 2: "cancelled", 3: "completed"}
    assert job.state is JobState.FAILED


def test_five_interruptions_pause_the_job_with_a_reason() -> None:
    world = World()
    world.submit(make_job(2, max_concurrent=2))
    for _ in range(5):
        world.lose(next(attempt for attempt in world.book.running.values() if attempt.n == 1))
    (job,) = world.book.jobs.values()
    assert job.state is JobState.PAUSED
    assert "interrupted 5 times" in job.reason
    world.finish(next(iter(world.book.running.values())), "ok")
    assert states(job) == {1: "pending", 2: "completed"}


def test_a_limit_spends_no_retry_and_holds_the_whole_scope() -> None:
    world = World()
    world.submit(make_job(3, full_attempts=1, max_concurrent=1))
    (job,) = world.book.jobs.values()
    world.finish(next(iter(world.book.running.values())), "limited")
    assert not world.book.running, "nothing else starts on the scope"
    assert world.turn() == world.now + 30
    assert states(job) == {1: "waiting", 2: "pending", 3: "pending"}
    world.run()
    assert states(job) == {1: "completed", 2: "completed", 3: "completed"}
