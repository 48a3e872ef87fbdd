"""plan(): what it never does, that it is fair, and that it wakes when time alone was in the way."""

from __future__ import annotations

import math
from collections import Counter
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from mozartd.coordinator.book import Book, weight
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Job
from mozartd.coordinator.schedule import Plan, plan
from mozartd.coordinator.settle import settle
from tests.unit.scenes import graphs, make_book, make_job, report

NOW = 1000.0
SCOPES = ("a/x/m", "b/x/m", "c/x/m")
TIMES = st.sampled_from([0.0, 1.0, NOW - 1, NOW, NOW + 0.5, NOW + 100])
HOLDS = st.dictionaries(st.sampled_from(SCOPES), TIMES)
CREDIT = st.integers(-3, 20)
EVERYTHING = 10_000

#: States a sheet may be found in; `awaiting` is there, although nothing gets there yet.
ANY_STATE = st.sampled_from(list(SheetState))


@st.composite
def one_job(draw: st.DrawFn, seq: int) -> Job:
    """Any job that could be in a book, and many that could not."""
    graph = draw(graphs(5))
    scopes = {n: draw(st.sampled_from(SCOPES)) for n in graph}
    job = make_job(graph, seq, draw(st.integers(-100, 100)), scopes, max_concurrent=draw(st.integers(1, 5)))
    job.state = draw(st.sampled_from([JobState.QUEUED, JobState.RUNNING, JobState.RUNNING, JobState.PAUSED]))
    job.wanted = draw(st.sampled_from(["", "", "", "cancel"]))
    job.not_before = draw(TIMES)
    job.passed = draw(st.floats(0, 50))
    for sheet in job.sheets.values():
        sheet.state = draw(st.sampled_from([SheetState.PENDING, SheetState.COMPLETED]) | ANY_STATE)
        sheet.k = draw(st.integers(0, 2))
    job.take(job.sheets.values())
    return job


@st.composite
def some_jobs(draw: st.DrawFn) -> list[Job]:
    return [draw(one_job(seq)) for seq in range(1, draw(st.integers(0, 3)) + 1)]


def held_until(job: Job, n: int, holds: dict[str, float]) -> float:
    """When time lets this sheet go: said once more, in other words than plan's."""
    sheet = job.sheets[n]
    return max([holds.get(sheet.scope, 0.0)] + [job.not_before] * (sheet.k == 0))


def room(job: Job) -> int:
    active = job.state in (JobState.QUEUED, JobState.RUNNING) and not job.wanted
    return max(0, job.policy.max_concurrent - len(job.running)) if active else 0


@settings(max_examples=60)
@given(some_jobs(), CREDIT, HOLDS)
def test_it_never_oversteps(jobs: list[Job], credit: int, holds: dict[str, float]) -> None:
    starts = plan(jobs, credit, holds, NOW).starts
    assert len(starts) <= max(credit, 0)
    assert len({(job.id, n) for job, n in starts}) == len(starts)
    for job, count in Counter(job.id for job, _ in starts).items():
        assert count <= room(next(one for one in jobs if one.id == job))
    for job, n in starts:
        assert job.sheets[n].state is SheetState.PENDING
        assert not job.sheets[n].missing
        assert held_until(job, n, holds) <= NOW


@settings(max_examples=60)
@given(some_jobs(), CREDIT, HOLDS)
def test_it_leaves_no_credit_unused(jobs: list[Job], credit: int, holds: dict[str, float]) -> None:
    starts = plan(jobs, credit, holds, NOW).starts
    possible = sum(min(room(job), sum(held_until(job, n, holds) <= NOW for n in job.ready)) for job in jobs)
    assert len(starts) == max(0, min(credit, possible))


@settings(max_examples=60)
@given(some_jobs(), HOLDS)
def test_a_jobs_sheets_start_in_number_order(jobs: list[Job], holds: dict[str, float]) -> None:
    starts = plan(jobs, EVERYTHING, holds, NOW).starts
    for job in jobs:
        numbers = [n for one, n in starts if one is job]
        free = [n for n in job.ready if held_until(job, n, holds) <= NOW]
        assert numbers == free[: room(job)]


@settings(max_examples=60)
@given(some_jobs(), CREDIT, HOLDS)
def test_it_is_deterministic_and_changes_nothing(jobs: list[Job], credit: int, holds: dict[str, float]) -> None:
    before = deepcopy((jobs, holds))
    first = plan(jobs, credit, holds, NOW)
    assert (jobs, holds) == before
    assert plan(jobs, credit, holds, NOW) == first
    assert ids(plan(before[0], credit, before[1], NOW)) == ids(first)


def ids(one: Plan) -> list[Any]:
    return [*((job.id, n) for job, n in one.starts), one.wake_at]


@settings(max_examples=60)
@given(some_jobs(), HOLDS)
def test_it_wakes_when_time_alone_is_in_the_way(jobs: list[Job], holds: dict[str, float]) -> None:
    starts, wake_at = plan(jobs, EVERYTHING, holds, NOW)
    waiting = [held_until(job, n, holds) for job in jobs if room(job) for n in job.ready]
    if wake_at is not None:
        assert wake_at > NOW
        assert wake_at in waiting
    if not starts and waiting:
        assert wake_at == min(waiting)
        assert plan(jobs, EVERYTHING, holds, wake_at).starts


@settings(max_examples=60)
@given(some_jobs(), HOLDS)
def test_without_credit_nothing_starts_and_time_is_still_watched(jobs: list[Job], holds: dict[str, float]) -> None:
    assert plan(jobs, 0, holds, NOW) == Plan([], plan(jobs, EVERYTHING, holds, NOW).wake_at)


def test_the_pause_between_sheets_holds_no_other_attempt_of_one() -> None:
    job = make_job(2)
    job.not_before = NOW + 10
    assert plan([job], 9, {}, NOW) == Plan([], NOW + 10)
    job.sheets[1].k = 1
    assert plan([job], 9, {}, NOW).starts == [(job, 1)]


def test_a_hold_lets_sheets_of_other_scopes_go_on() -> None:
    job = make_job(3, scopes={1: "a", 2: "b", 3: "a"}, max_concurrent=3)
    assert plan([job], 9, {"a": NOW + 5}, NOW) == Plan([(job, 2)], NOW + 5)


# ---- fairness ---------------------------------------------------------------------------------------------------


def serve(book: Book, count: int, holds: dict[str, float] | None = None) -> Counter[str]:
    """Start and end `count` sheets, one credit at a time: who was served how often."""
    served: Counter[str] = Counter()
    limits = Limits(book.journal, [])
    for _ in range(count):
        ((job, n),) = plan(book.jobs.values(), 1, holds or {}, NOW, book.clock).starts
        served[job.id] += 1
        attempt = book.start(job, job.sheets[n], "worker", NOW)
        settle(book, limits, attempt, report(attempt=attempt.id), NOW, 0.5)
    return served


def jain(shares: list[float]) -> float:
    """1 when all are equal, 1/n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


@settings(max_examples=30)
@given(st.lists(st.integers(-40, 40), min_size=2, max_size=5))
def test_jobs_are_served_by_their_weights(priorities: list[int]) -> None:
    rounds = 200
    jobs = [make_job(rounds, seq, priority) for seq, priority in enumerate(priorities, 1)]
    served = serve(make_book(*jobs), rounds)
    total = sum(map(weight, priorities))
    for job in jobs:
        due = rounds * weight(job.priority) / total
        assert abs(served[job.id] - due) <= len(jobs), f"{served}, due {due}"
    ample = [served[job.id] / weight(job.priority) for job in jobs if rounds * weight(job.priority) / total > 20]
    assert not ample or jain(ample) > 0.99


def test_ten_points_are_the_square_root_of_two() -> None:
    assert weight(0) == 1.0
    assert math.isclose(weight(10), math.sqrt(2))
    assert math.isclose(weight(100) * weight(-100), 1.0)


def test_a_small_job_passes_a_big_one() -> None:
    book = make_book(make_job(2000, 1))
    serve(book, 500)
    book.add(make_job(2, 2))
    assert serve(book, 4)["job-2"] == 2


def test_a_new_job_does_not_stop_the_old_ones() -> None:
    book = make_book(make_job(2000, 1))
    serve(book, 500)
    book.add(make_job(2000, 2))
    assert abs(serve(book, 100)["job-1"] - 50) <= 1


def test_a_job_that_was_held_for_long_does_not_stop_the_others() -> None:
    """What it did not ask for while it was held is not owed to it."""
    held, busy = make_job(1000, 1, scopes=dict.fromkeys(range(1, 1001), "held")), make_job(1000, 2)
    book = make_book(held, busy)
    serve(book, 400, {"held": NOW + 1})
    assert abs(serve(book, 100)["job-2"] - 50) <= 1


def test_a_job_between_two_sheets_keeps_its_turn() -> None:
    """A job that cannot use all its share is next as soon as it asks."""
    book = make_book(make_job(10, 1), make_job(1000, 2, max_concurrent=8))
    limits = Limits(book.journal, [])
    for job, n in plan(book.jobs.values(), 5, {}, NOW, book.clock).starts:
        book.start(job, job.sheets[n], "worker", NOW)
    first = book.running["job-1:1:1"]
    settle(book, limits, first, report(attempt=first.id), NOW, 0.5)
    ((job, n),) = plan(book.jobs.values(), 1, {}, NOW, book.clock).starts
    assert (job.id, n) == ("job-1", 2)


@pytest.mark.parametrize("sheets", [100_000])
def test_it_looks_at_no_more_sheets_than_it_needs(sheets: int) -> None:
    """A job of 100,000 ready sheets costs a plan no more than one of 10: a plan is made in every turn."""

    class Counted(list[int]):
        seen = 0

        def __iter__(self) -> Any:
            for n in super().__iter__():
                Counted.seen += 1
                yield n

    job = make_job(sheets, max_concurrent=8)
    job.ready = Counted(job.ready)
    assert len(plan([job], 4, {}, NOW).starts) == 4
    assert Counted.seen <= 9
