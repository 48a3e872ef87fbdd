"""One scope's hold, window, forecast and breaker, with a fake clock."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mozartd.coordinator.budget import Budget, Budgets, local_day
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.limits import ENOUGH, Limits, clock, forecast, next_allowed, window_minutes
from mozartd.coordinator.throttle import Throttle
from tests.bench.simulated_limit import play


def test_after_a_hold_one_probe_goes_first_and_then_more() -> None:
    throttle = Throttle("s")
    ordinals = [throttle.start() for _ in range(8)]
    throttle.hold(100.0, "limit", "429", 0.0)
    for ordinal in ordinals:
        throttle.end(ordinal, ok=False)
    assert throttle.room(50.0) == 0
    throttle.release(100.0)
    rooms = []
    for _ in range(3):
        room = throttle.room(100.0)
        assert room is not None
        rooms.append(room)
        for ordinal in [throttle.start() for _ in range(room)]:
            throttle.end(ordinal, ok=True)
    assert rooms == [1, 2, 4], "doubled up to half of what ran when the limit was hit"


def test_a_known_hold_is_not_told_twice() -> None:
    throttle = Throttle("s")
    assert throttle.hold(100.0, "limit", "", 0.0)
    assert not throttle.hold(100.5, "limit", "", 1.0)
    assert throttle.hold(200.0, "limit", "", 1.0)


def test_failures_in_a_row_open_the_breaker_and_a_failed_probe_opens_it_again() -> None:
    throttle = Throttle("s")
    assert [throttle.fail(3, 60.0, 0.0) for _ in range(3)] == [False, False, True]
    assert throttle.room(10.0) == 0
    throttle.release(60.0)
    assert throttle.room(60.0) == 1, "half-open: a single probe"
    ordinal = throttle.start()
    assert throttle.room(60.0) == 0
    throttle.end(ordinal, ok=False)
    assert throttle.fail(3, 60.0, 61.0)
    throttle.release(121.0)
    throttle.end(throttle.start(), ok=True)
    assert throttle.failures == 0


def test_what_was_learned_survives_a_restart() -> None:
    throttle = Throttle("s")
    throttle.allowance, throttle.period, throttle.opened_at, throttle.window = 7, 60.0, 5.0, 3.0
    again = Throttle("s")
    again.recall(throttle.facts())
    assert again.facts() == throttle.facts()


def test_a_hold_for_a_person_has_no_end() -> None:
    limits = Limits(Journal(0))
    limits.hold("a/b/c", math.inf, "not logged in", "", 0.0)
    assert limits.room("a/b/c", 1e12) == 0
    assert limits.next_time(0.0) is None
    assert limits.clear("a/b/c", 1.0)
    assert limits.room("a/b/c", 1.0) is None


def test_holds_survive_a_restart() -> None:
    limits = Limits(Journal(0))
    limits.hold("a/b/c", 500.0, "limit", "429", 0.0)
    rows = [row for name, row in limits.take_changes() if name == "put_hold"]
    (held,) = Limits(Journal(0), rows).held(100.0)
    assert (held.scope, held.until, held.evidence) == ("a/b/c", 500.0, "429")


@pytest.mark.parametrize(("hours", "wait"), [("08:00-22:00", 0), ("13:00-14:00", 3600), ("22:00-06:00", 36000)])
def test_quiet_hours_put_an_end_off(hours: str, wait: int) -> None:
    noon = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
    assert next_allowed(noon, window_minutes(hours)) == noon + wait


@settings(max_examples=25)
@given(st.integers(5, 60), st.integers(2, 50))
def test_a_shared_limit_is_used_up_and_hardly_overstepped(calls: int, concurrency: int) -> None:
    """At least 95 % of what is allowed after the first window, and at most two wasted calls a window."""
    served, refused = play(calls, seconds=60.0, callers=concurrency, windows=8, took=0.5)
    later = [served.get(window, 0) for window in range(2, 7)]
    assert sum(later) >= 0.95 * calls * len(later)
    assert max(refused.get(window, 0) for window in range(2, 7)) <= 2


# ---- a clock that jumps ---------------------------------------------------------------------------------------------

_STEPS = st.sampled_from(["start", "served", "limited", "failed", "wait"])


@settings(max_examples=100)
@given(st.lists(st.tuples(_STEPS, st.sampled_from([0.0, 1.0, 60.0, 3600.0, -3600.0, 86400.0, -86400.0])), max_size=60))
def test_a_clock_that_jumps_neither_stops_a_scope_for_good_nor_opens_a_held_one(steps: list[tuple[str, float]]) -> None:
    limits, now, running = Limits(Journal(0)), 1e9, list[int]()
    for what, jump in steps:
        now += jump
        limits.end_due(now)
        held, room = limits.held_until("a/b/c") > now, limits.room("a/b/c", now)
        assert room is None or room >= 0
        assert not held or room == 0
        if what == "start" and room != 0:
            running.append(limits.start("a/b/c"))
        elif what != "wait" and running:
            limits.end("a/b/c", running.pop(), what == "served", -jump, 10, now)
            if what == "limited":
                limits.hold("a/b/c", now + 600, "limit", "429", now)
            elif what == "failed":
                limits.fail("a/b/c", 3, 300.0, now)
        wake_at = limits.next_time(now)
        assert wake_at is None or wake_at > now, "it would turn without end"
    while running:
        limits.end("a/b/c", running.pop(), True, 1.0, 10, now)
    for _ in range(5):
        now = max(now, limits.next_time(now) or now)
        limits.end_due(now)
    assert limits.room("a/b/c", now) != 0, "time alone lets it go on"


# ---- a person's word, a veto, quiet hours ---------------------------------------------------------------------------


def test_a_limit_does_not_shorten_what_a_person_holds() -> None:
    limits = Limits(Journal(0))
    limits.hold_by_hand("a/b/c", 5000.0, "maintenance", 0.0)
    limits.hold("a/b/c", 60.0, "E101", "429", 1.0)
    (held,) = limits.held(2.0)
    assert (held.until, held.reason, held.kind) == (5000.0, "maintenance", "hand")
    limits.hold_by_hand("a/b/c", 100.0, "shorter", 3.0)
    assert held.until == 100.0, "a person's newer word counts"
    limits.hold("a/b/c", math.inf, "E502 not logged in", "", 4.0)
    limits.hold("a/b/c", 60.0, "E101", "429", 5.0)
    assert (held.until, held.kind) == (math.inf, "person")


@pytest.mark.parametrize("longer_first", [False, True])
def test_nor_does_it_in_two_steps(longer_first: bool) -> None:
    """A longer limit lies over the hold; when a newer one says that it is shorter, the hold is there again."""
    throttle = Throttle("s")
    for kind in ("limit", "budget") if longer_first else ("budget", "limit"):
        throttle.hold(900.0 if kind == "limit" else 500.0, f"a {kind}", "", 1.0, kind)
    again = Throttle("s", throttle.since, throttle.until)
    again.recall(throttle.facts())
    assert (again.until, again.kind) == (900.0, "limit")
    assert again.hold(60.0, "a limit", "429", 3.0)
    assert (again.until, again.reason, again.kind) == (500.0, "a budget", "budget")
    again.release(500.0)
    again.hold(700.0, "a limit", "429", 600.0)
    again.hold(650.0, "a limit", "429", 601.0)
    assert again.until == 650.0, "what is over lies under nothing"


def test_a_veto_keeps_a_limit_on_until_somebody_clears_it_and_then_one_probe_goes_first() -> None:
    limits = Limits(Journal(0), ask=True)
    limits.hold_by_hand("d/e/f", 60.0, "maintenance", 0.0)
    limits.hold("a/b/c", 100.0, "E101 limit", "429", 0.0)
    by_hand, held = limits.held(1.0)
    assert by_hand.until == 60.0, "a veto is about limits"
    assert held.until == math.inf
    assert "wait for a person" in held.reason
    assert limits.clear("a/b/c", 200.0)
    assert limits.room("a/b/c", 200.0) == 1
    limits.hold("a/b/c", 900.0, "E101 limit", "429", 300.0)
    assert limits.clear("a/b/c", 400.0)
    assert limits.room("a/b/c", 400.0) is None, "before its time: the person says that there is no limit"


@pytest.mark.parametrize(
    ("ask", "until", "reason"),
    [(False, 100.0, "E101 limit"), (True, math.inf, "E101 limit; over at {}, then wait for a person")],
)
def test_a_changed_veto_is_also_about_the_limits_that_hold_already(ask: bool, until: float, reason: str) -> None:
    before = Limits(Journal(0), ask=not ask)
    before.hold("a/b/c", 100.0, "E101 limit", "429", 0.0)
    before.hold("d/e/f", math.inf, "E502 log in", "", 0.0)
    rows = [row for _, row in before.take_changes()]
    after = Limits(Journal(0), rows, ask=ask)
    limit, person = sorted(after.held(1.0), key=lambda throttle: throttle.scope)
    assert (limit.until, limit.reason) == (until, reason.format(clock(100.0, 0.0)))
    assert (person.until, person.reason) == (math.inf, "E502 log in")
    assert [row["scope"] for _, row in after.take_changes()] == ["a/b/c"]


def test_a_backend_or_an_account_is_held_whole() -> None:
    limits = Limits(Journal(0))
    limits.hold_by_hand("a", 100.0, "maintenance", 0.0)
    limits.hold_by_hand("a/b", 500.0, "a new key is on its way", 0.0)
    limits.hold("a/x/y", 300.0, "E101", "429", 0.0)
    assert [limits.held_until(scope) for scope in ("a/b/c", "a/x/y", "a/x/z", "ab/c/d")] == [500.0, 300.0, 100.0, 0.0]
    assert [limits.room(scope, 200.0) for scope in ("a/b/c", "a/x/y", "a/x/z")] == [0, 0, None]
    longest = limits.holding("a/b/c", 50.0)
    assert longest
    assert longest.scope == "a/b"
    assert limits.next_time(50.0) == 100.0


def test_quiet_hours_say_when_the_limit_itself_is_over() -> None:
    noon = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
    limits = Limits(Journal(0), resume_window=window_minutes("22:00-06:00"))
    limits.hold("a/b/c", noon + 60, "E101 limit", "429", noon)
    (held,) = limits.held(noon)
    assert held.until == noon + 10 * 3600
    assert held.reason == "E101 limit; over at 12:01, in quiet hours"


def test_the_breaker_tells_each_of_its_states_also_over_a_restart() -> None:
    journal = Journal(0)
    limits = Limits(journal)
    for _ in range(3):
        limits.fail("a/b/c", 3, 60.0, 0.0)
    rows = [row for name, row in limits.take_changes() if name == "put_hold"]
    again = Limits(journal, rows)
    again.end_due(60.0)
    ordinal = again.start("a/b/c")
    again.end("a/b/c", ordinal, False, 1.0, 0, 61.0)
    again.fail("a/b/c", 3, 60.0, 61.0)
    again.end_due(121.0)
    again.end("a/b/c", again.start("a/b/c"), True, 1.0, 0, 122.0)
    told = [event.type for event in journal.take_unwritten() if event.type.startswith("breaker")]
    assert told == ["breaker.open", "breaker.half-open", "breaker.open", "breaker.half-open", "breaker.closed"]


def test_a_forecast_knows_tokens_where_they_are_told() -> None:
    throttle = Throttle("s")
    for until in (100.0, 200.0):
        for _ in range(4):
            throttle.end(throttle.start(), True, 1.0, tokens=250)
        throttle.hold(until, "limit", "429", until - 10)
        throttle.release(until)
    assert forecast(throttle) == {"calls": 4, "tokens": 1000, "seconds": 100.0}


def test_a_scope_that_nobody_will_use_again_is_forgotten() -> None:
    limits = Limits(Journal(0))
    limits.hold("a/b/c#1", 500.0, "limit", "429", 0.0)
    limits.take_changes()
    limits.forget("a/b/c#1")
    assert limits.take_changes() == [("drop_hold", {"scope": "a/b/c#1"})]
    assert repr(limits) == "<Limits 0 scopes>"


def test_what_lies_under_a_longer_limit_is_kept_over_a_restart() -> None:
    limits = Limits(Journal(0), budgets=Budgets([Budget("*", 1.0, None)]))
    midnight = local_day(0.0)[1]
    limits.hold("a/b/c", midnight + 900, "a limit", "429", 0.0)
    limits.take_changes()
    limits.spend("a/b/c", 2.0, None, 2.0)
    (row,) = [row for name, row in limits.take_changes() if name == "put_hold"]
    limits.look_at_budgets(["a/b/c"], 3.0)
    assert limits.take_changes() == [], "known already"
    again = Limits(Journal(0), [row])
    again.hold("a/b/c", 60.0, "a limit", "429", 4.0)
    (held,) = again.held(5.0)
    assert (held.until, held.kind) == (midnight, "budget")


def test_of_scopes_that_were_used_once_only_some_are_kept() -> None:
    limits = Limits(Journal(0))
    limits.hold("learned/b/c", 10.0, "limit", "429", 0.0)
    limits.end_due(10.0)
    limits.start("running/b/c")
    for n in range(1000):
        limits.end(f"a/{n}/c", limits.start(f"a/{n}/c"), True, 1.0, 0, 11.0)
    assert int(repr(limits).split()[1]) <= ENOUGH
    assert (limits.of("learned/b/c").window, limits.of("running/b/c").running) == (1.0, 1)
