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
from mozartd.coordinator.book import Book
from mozartd.coordinator.caps import Caps
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Job, weight
from mozartd.coordinator.schedule import plan
from mozartd.coordinator.settle import settle
from tests.unit.scenes import graphs, make_book, make_job, reopen, report

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


def ready(job: Job) -> list[int]:
    return sorted(n for numbers in job.ready.values() for n in numbers)


class Scene:
    """Some jobs on a board, some holds: what plan() is asked about."""

    def __init__(self, jobs: list[Job], holds: dict[str, float], now: float = NOW) -> None:
        self.now = now
        self.book = make_book(*jobs)
        self.limits = Limits(self.book.journal)
        for scope, until in holds.items():
            if until > now:
                self.limits.hold(scope, until, "", "", now)
        self.book.board.settle(now)

    def starts(self, credit: int) -> list[tuple[Job, int]]:
        return plan(self.book.board, Caps(self.book, self.limits, {}, {}, None, self.now), credit, self.now)

    def all_starts(self, credit: int = EVERYTHING) -> list[tuple[Job, int]]:
        """As the turn does it: a job that has begun may start more than its first."""
        found: list[tuple[Job, int]] = []
        while more := self.starts(credit - len(found)):
            for job, n in more:
                self.book.start(job, job.sheets[n], "worker", self.now)
            found += more
            self.book.board.settle(self.now)
        return found

    def wake_at(self) -> float | None:
        times = [self.book.board.next_time(), self.limits.next_time(self.now)]
        return min((when for when in times if when is not None), default=None)


@settings(max_examples=60)
@given(some_jobs(), CREDIT, HOLDS)
def test_it_never_oversteps(jobs: list[Job], credit: int, holds: dict[str, float]) -> None:
    starts = Scene(jobs, holds).starts(credit)
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
    possible = sum(min(room(job), sum(held_until(job, n, holds) <= NOW for n in ready(job))) for job in jobs)
    assert len(Scene(jobs, holds).all_starts(credit)) == max(0, min(credit, possible))


@settings(max_examples=60)
@given(some_jobs(), HOLDS)
def test_a_jobs_sheets_start_in_number_order(jobs: list[Job], holds: dict[str, float]) -> None:
    free = {job.id: [n for n in ready(job) if held_until(job, n, holds) <= NOW][: room(job)] for job in jobs}
    starts = Scene(jobs, holds).all_starts()
    for job in jobs:
        numbers = [n for one, n in starts if one is job]
        for scope in SCOPES:
            assert (of := [n for n in numbers if job.sheets[n].scope == scope]) == sorted(of)
        assert len(numbers) == len(free[job.id])


@settings(max_examples=60)
@given(some_jobs(), CREDIT, HOLDS)
def test_it_is_deterministic_and_changes_nothing(jobs: list[Job], credit: int, holds: dict[str, float]) -> None:
    scene = Scene(jobs, holds)
    before = deepcopy((jobs, scene.book.board.lanes))
    first = scene.starts(credit)
    assert (jobs, scene.book.board.lanes) == before
    assert scene.starts(credit) == first


@settings(max_examples=60)
@given(some_jobs(), HOLDS)
def test_it_wakes_when_time_alone_is_in_the_way(jobs: list[Job], holds: dict[str, float]) -> None:
    scene = Scene(jobs, holds)
    waiting = [held_until(job, n, holds) for job in jobs if room(job) for n in ready(job)]
    wake_at = scene.wake_at()
    assert wake_at is None or wake_at > NOW
    if waiting and min(waiting) > NOW:
        assert not scene.starts(EVERYTHING)
        assert wake_at is not None
        assert wake_at <= min(waiting)
        assert Scene(jobs, holds, min(waiting)).starts(EVERYTHING)


@settings(max_examples=60)
@given(some_jobs(), CREDIT)
def test_a_clock_that_is_set_back_makes_jobs_wait_once_more(jobs: list[Job], credit: int) -> None:
    expected = Scene(deepcopy(jobs), {}).starts(credit)
    scene = Scene(jobs, {}, NOW + 100)
    scene.now = NOW
    scene.book.board.settle(NOW)
    assert [(job.seq, n) for job, n in scene.starts(credit)] == [(job.seq, n) for job, n in expected]
    waiting = [job.not_before for job in jobs if job.not_before > NOW and room(job) and ready(job)]
    assert not waiting or (scene.wake_at() or math.inf) <= min(waiting)


def test_without_credit_nothing_starts() -> None:
    assert not Scene([make_job(3)], {}).starts(0)


def test_the_pause_between_sheets_holds_no_other_attempt_of_one() -> None:
    job = make_job(2)
    job.not_before = NOW + 10
    scene = Scene([job], {})
    assert not scene.starts(9)
    assert scene.wake_at() == NOW + 10
    job.sheets[1].k = 1
    assert Scene([job], {}).starts(9) == [(job, 1)]


def test_a_hold_lets_sheets_of_other_scopes_go_on() -> None:
    job = make_job(3, scopes={1: "a/x/m", 2: "b/x/m", 3: "a/x/m"}, max_concurrent=3)
    scene = Scene([job], {"a/x/m": NOW + 5})
    assert scene.all_starts() == [(job, 2)]
    assert scene.wake_at() == NOW + 5


@pytest.mark.parametrize(
    ("caps", "most"),
    [({"backends": {"a": 2}}, 2), ({"groups": {"night": 3}}, 3), ({"jobs": 1}, 4), ({"backends": {"b": 1}}, 8)],
)
def test_caps_of_backends_groups_and_jobs_hold_over_all_jobs(caps: dict[str, Any], most: int) -> None:
    jobs = [make_job(4, seq, scopes=dict.fromkeys(range(1, 5), "a/x/m"), max_concurrent=4) for seq in (1, 2)]
    for job in jobs:
        job.group = "night"
    book = make_book(*jobs)
    limits = Limits(book.journal)
    started = 0
    while True:
        book.board.settle(NOW)
        cap = Caps(book, limits, caps.get("backends", {}), caps.get("groups", {}), caps.get("jobs"), NOW)
        starts = plan(book.board, cap, EVERYTHING, NOW)
        if not starts:
            break
        for job, n in starts:
            book.start(job, job.sheets[n], "worker", NOW)
        started += len(starts)
    assert started == most


# ---- fairness ---------------------------------------------------------------------------------------------------


def serve(book: Book, count: int, holds: dict[str, float] | None = None) -> Counter[str]:
    """Start and end `count` sheets, one credit at a time: who was served how often."""
    served: Counter[str] = Counter()
    limits = Limits(book.journal)
    for scope, until in (holds or {}).items():
        limits.hold(scope, until, "", "", NOW)
    for _ in range(count):
        book.board.settle(NOW)
        ((job, n),) = plan(book.board, Caps(book, limits, {}, {}, None, NOW), 1, NOW)
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
        # A job is at most one turn of each other job early or late, and one of its own at the end.
        assert abs(served[job.id] - due) <= len(jobs) + 1, f"{served}, due {due}"
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
    scene = Scene([make_job(10, 1), make_job(1000, 2, max_concurrent=8)], {})
    assert len(scene.all_starts(5)) == 5
    first = scene.book.running["job-1:1:1"]
    settle(scene.book, scene.limits, first, report(attempt=first.id), NOW, 0.5)
    scene.book.board.settle(NOW)
    ((job, n),) = scene.starts(1)
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
    job.ready = {scope: Counted(numbers) for scope, numbers in job.ready.items()}
    assert len(Scene([job], {}).all_starts(4)) == 4
    assert Counted.seen <= 9


def test_one_job_of_2000_sheets_and_ten_of_20_share_alike() -> None:
    """Jain's index over the time in which all of them have work."""
    book = make_book(make_job(2000, 1), *[make_job(20, seq) for seq in range(2, 12)])
    served = serve(book, 11 * 19)
    assert jain([float(count) for count in served.values()]) >= 0.98


def test_new_jobs_without_end_do_not_starve_an_old_one() -> None:
    """Each start makes virtual time pass, also those of jobs that are new."""
    book = make_book(make_job(2000, 1))
    served = Counter[str]()
    for seq in range(2, 102):
        book.add(make_job(1, seq))
        served.update(serve(book, 1).keys())
    assert served["job-1"] >= 33, "a job a step comes and each has one sheet"


def test_among_jobs_that_have_not_begun_a_persons_order_counts_then_priority_then_number() -> None:
    book = make_book(*[make_job(1, seq, priority) for seq, priority in ((1, 0), (2, 40), (3, 0), (4, -40))])
    order = [job.seq for job in book.queue()]
    assert order == [2, 1, 3, 4]
    assert [job.seq for job in book.reorder(book.jobs["job-4"], 0)] == [4, 2, 1, 3]
    assert [job.seq for job in book.reorder(book.jobs["job-3"], 1)] == [4, 3, 2, 1]
    assert [job.seq for job in book.reorder(book.jobs["job-4"], 2)] == [3, 2, 4, 1]
    book.add(make_job(1, 5, 100))
    assert [job.seq for job in reopen(book).queue()] == [3, 2, 4, 5, 1], "who comes later comes behind"
    limits, began = Limits(book.journal), []
    while book.queue():
        book.board.settle(NOW)
        ((job, n),) = plan(book.board, Caps(book, limits, {}, {}, 1, NOW), 1, NOW)
        began.append(job.seq)
        attempt = book.start(job, job.sheets[n], "worker", NOW)
        settle(book, limits, attempt, report(attempt=attempt.id), NOW, 0.5)
    assert began == [3, 2, 4, 5, 1]
