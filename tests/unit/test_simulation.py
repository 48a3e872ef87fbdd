"""The real book, plan, retry and settle with a fake clock and workers made of data: whatever happens, every job ends.

Hypothesis draws the jobs and what happens to them: verdicts, lost workers, limits, cancellations, retries, restarts. After
each step everything that can be derived is derived again and compared; restarts read what was written and nothing else.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc.errors import MozartError
from ipc.states import SHEET_TRANSITIONS
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from mozartd.coordinator.model import Attempt, Job
from mozartd.coordinator.requests.cancel import cancel
from mozartd.coordinator.requests.retry import choose
from mozartd.coordinator.settle import settle
from tests.unit.scenes import chain, fan_outs, graphs, make_job, report
from tests.unit.world import ENDINGS, SOME_ENDING, World, check_end

#: Whatever is drawn, it is bounded by steps: only a machine that is held up takes longer than its usual few seconds.
pytestmark = pytest.mark.timeout(300)


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
    for _ in world.book.following(job):
        pass  # Which the turn does in steps.
    world.book.end_if_over(job, world.now)
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
