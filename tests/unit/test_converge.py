"""What the supervisor does next: restarts, stops, hung children, back-off. Time is an argument."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.setup import EXIT_CANNOT_BOOT
from mozartd.backoff import LONGEST_PAUSE_SECONDS, SHORT_LIFE_SECONDS, Tally, after_death, is_hopeless, pause
from mozartd.converge import (
    COORDINATOR,
    Abort,
    Child,
    Drain,
    Kill,
    Phase,
    Slot,
    Spawn,
    Stop,
    Wanted,
    converge,
    worker,
)
from mozartd.liveness import Pulse, beat_seconds

NOW = 1000.0


def child(slot: Slot, *, generation: int = 0) -> Child:
    return Child(slot, str(slot), 1, NOW, generation, -1, Pulse(0, NOW))


def everybody() -> list[Child]:
    return [child(COORDINATOR), child(worker(1)), child(worker(2))]


def wanted(phase: Phase = Phase.RUNNING, workers: int = 2) -> Wanted:
    return Wanted(phase, workers)


def test_what_is_missing_is_started_the_coordinator_first() -> None:
    plan = converge(wanted(), [], {}, NOW)
    assert plan.actions == [Spawn(COORDINATOR), Spawn(worker(1)), Spawn(worker(2))]


def test_when_all_is_well_nothing_is_due_but_a_look() -> None:
    plan = converge(wanted(), everybody(), {}, NOW)
    assert plan.actions == []
    assert plan.wake_at == NOW + 30.0


def test_a_child_that_died_too_often_waits() -> None:
    plan = converge(wanted(), everybody()[:2], {worker(2): Tally(not_before=NOW + 3)}, NOW)
    assert (plan.actions, plan.wake_at) == ([], NOW + 3)
    assert converge(wanted(), everybody()[:2], {worker(2): Tally(not_before=NOW)}, NOW).actions == [Spawn(worker(2))]


def test_one_worker_less_is_drained_once() -> None:
    children = everybody()
    assert converge(wanted(workers=1), children, {}, NOW).actions == [Drain(children[2])]
    children[2].is_draining = True
    assert converge(wanted(workers=1), children, {}, NOW).actions == []


def test_outdated_workers_are_replaced_while_they_drain() -> None:
    children, want = everybody(), wanted()
    want.generations["worker"] = 1
    assert converge(want, children, {}, NOW).actions[:2] == [Drain(children[1]), Drain(children[2])]
    children[1].is_draining = children[2].is_draining = True
    assert converge(want, children, {}, NOW).actions == [Spawn(worker(1)), Spawn(worker(2))]


def test_two_coordinators_never_live_at_once() -> None:
    children, want = everybody(), wanted()
    want.generations["coordinator"] = 1
    assert converge(want, children, {}, NOW).actions == [Stop(children[0])]
    children[0].stop_sent = NOW
    assert converge(want, children, {}, NOW).actions == []
    assert converge(want, children[1:], {}, NOW).actions == [Spawn(COORDINATOR)]


def test_stopping_asks_the_workers_then_the_coordinator() -> None:
    children, want = everybody(), wanted(Phase.STOPPING)
    assert converge(want, children, {}, NOW).actions == [Stop(children[1]), Stop(children[2])]
    assert converge(want, children[:1], {}, NOW).actions == [Stop(children[0])]
    assert converge(want, [], {}, NOW).is_over


def test_a_coordinator_that_dies_while_workers_stop_is_replaced_for_their_reports() -> None:
    children = everybody()[1:]
    for one in children:
        one.stop_sent = NOW
    assert converge(wanted(Phase.STOPPING), children, {}, NOW).actions == [Spawn(COORDINATOR)]


def test_who_does_not_stop_in_time_is_killed_once() -> None:
    children = everybody()
    for one in children[1:]:
        one.stop_sent = NOW
    want = wanted(Phase.STOPPING)
    assert converge(want, children, {}, NOW + 19.9).wake_at == NOW + 20
    plan = converge(want, children, {}, NOW + 20)
    assert [action.child for action in plan.actions if isinstance(action, Kill)] == children[1:]
    children[1].is_killed = children[2].is_killed = True
    assert converge(want, children, {}, NOW + 21).actions == []


def test_killing_asks_nobody() -> None:
    plan = converge(wanted(Phase.KILLING), everybody(), {}, NOW)
    assert len(plan.actions) == 3
    assert all(isinstance(action, Kill) for action in plan.actions)
    assert converge(wanted(Phase.KILLING), [], {}, NOW).is_over


def test_a_hung_child_may_say_where_it_hangs_before_it_is_killed() -> None:
    children = everybody()
    children[1].pulse.missed = 2
    assert converge(wanted(), children, {}, NOW).actions == [Abort(children[1])]
    children[1].abort_sent = NOW
    assert converge(wanted(), children, {}, NOW + 1).wake_at == NOW + 2
    assert converge(wanted(), children, {}, NOW + 2).actions == [Kill(children[1], "hangs")]


@given(
    st.sampled_from(Phase),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from([COORDINATOR, worker(1), worker(2), worker(5)]), st.integers(0, 1)), max_size=6),
)
def test_doing_what_is_due_comes_to_rest(phase: Phase, workers: int, alive: list[tuple[Slot, int]]) -> None:
    """Whatever lives at first: act, let the told ones end, and soon nothing is due and exactly what is wanted lives."""
    want = wanted(phase, workers)
    children = [child(slot, generation=generation) for slot, generation in alive if slot != COORDINATOR]
    children += [child(slot, generation=generation) for slot, generation in alive if slot == COORDINATOR][:1]
    for _ in range(6):
        plan = converge(want, children, {}, NOW)
        assert sum(one.slot == COORDINATOR for one in children) <= 1
        for action in plan.actions:
            if isinstance(action, Spawn):
                children.append(child(action.slot))
            else:
                children.remove(action.child)
    assert plan.actions == []
    assert plan.is_over == (phase is not Phase.RUNNING)
    expected = [COORDINATOR, *map(worker, range(1, workers + 1))] if phase is Phase.RUNNING else []
    # Two of the same slot may live when both were there at first; none is missing and no stranger stays.
    assert {one.slot for one in children} == set(expected)


# ---- back-off


def test_the_first_death_costs_no_time() -> None:
    tally = after_death(Tally(), 0.0, 1, NOW)
    assert tally == Tally(deaths=1, quick=1, refusals=0, not_before=NOW)


def test_a_long_life_is_forgiven() -> None:
    tally = after_death(Tally(deaths=9, quick=9), SHORT_LIFE_SECONDS, 1, NOW)
    assert (tally.quick, tally.deaths, tally.not_before) == (1, 10, NOW)


@given(st.integers(0, 10_000))
def test_pauses_grow_and_are_bounded(quick: int) -> None:
    assert 0 <= pause(quick) <= pause(quick + 1) <= LONGEST_PAUSE_SECONDS


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from([0, 1, -9, EXIT_CANNOT_BOOT])), max_size=40))
def test_tallies_only_count(lives: list[tuple[float, int]]) -> None:
    tally, now = Tally(), NOW
    for lived, code in lives:
        now = max(now, tally.not_before) + lived
        tally = after_death(tally, lived, code, now)
        assert now <= tally.not_before <= now + LONGEST_PAUSE_SECONDS
        assert tally.refusals <= tally.deaths
        assert tally.quick <= tally.deaths
    assert tally.deaths == len(lives)


@pytest.mark.parametrize(
    ("tally", "was_ready", "hopeless"),
    [
        (Tally(refusals=1), False, True),
        (Tally(refusals=1), True, False),
        (Tally(refusals=3), True, True),
        (Tally(quick=2), False, False),
        (Tally(quick=3), False, True),
        (Tally(quick=1000), True, False),
    ],
)
def test_who_cannot_boot_is_given_up_sooner_when_it_never_could(tally: Tally, was_ready: bool, hopeless: bool) -> None:
    assert is_hopeless(tally, was_ready=was_ready) is hopeless


def test_a_hopeless_slot_is_never_started() -> None:
    plan = converge(wanted(), everybody()[1:], {COORDINATOR: Tally(not_before=math.inf)}, NOW)
    assert plan.actions == []


# ---- liveness


def looks(pulse: Pulse, patience: float, beats: dict[float, int], until: float) -> float | None:
    """When the pulse is found stale, looking only when a look is due; None when never."""
    now = pulse.changed_at
    while now < until:
        now = pulse.next_look(patience)
        mtime = max((value for at, value in beats.items() if at <= now), default=pulse.mtime)
        pulse.look(mtime, now, patience)
        if pulse.is_stale:
            return now
    return None


def test_a_beating_child_is_never_stale() -> None:
    beats = {NOW + 5.0 * n: n for n in range(100)}
    assert looks(Pulse(0, NOW), 30.0, beats, NOW + 400) is None


def test_a_child_that_stops_is_found_in_time() -> None:
    found = looks(Pulse(0, NOW), 30.0, {NOW + 5.0: 1, NOW + 10.0: 2}, NOW + 1000)
    assert found is not None
    assert NOW + 40 <= found <= NOW + 10 + 2 * 30 + 2 * beat_seconds(30.0)


def test_one_late_look_after_everything_stood_still_is_no_proof() -> None:
    pulse = Pulse(7, NOW)
    pulse.look(7, NOW + 3600, 30.0)
    assert not pulse.is_stale
    pulse.look(8, NOW + 3601, 30.0)
    assert pulse.missed == 0
