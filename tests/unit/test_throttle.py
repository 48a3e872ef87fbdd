"""One scope's hold, window, forecast and breaker, with a fake clock."""

from __future__ import annotations

import heapq
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mozartd.coordinator.journal import Journal
from mozartd.coordinator.limits import Limits, next_allowed, window_minutes
from mozartd.coordinator.throttle import Throttle


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
    import time

    noon = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
    assert next_allowed(noon, window_minutes(hours)) == noon + wait


class Service:
    """An API that allows `calls` in each `seconds`, and answers 429 with the time of the reset otherwise."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls, self.seconds = calls, seconds
        self.served: dict[int, int] = {}
        self.refused: dict[int, int] = {}

    def call(self, now: float) -> float | None:
        """None when served, else when to come again."""
        window = int(now // self.seconds)
        if self.served.get(window, 0) < self.calls:
            self.served[window] = self.served.get(window, 0) + 1
            return None
        self.refused[window] = self.refused.get(window, 0) + 1
        return (window + 1) * self.seconds


def simulate(calls: int, seconds: float, concurrency: int, windows: int, took: float) -> Service:
    """`concurrency` callers with endless work share one throttle over some windows."""
    service, throttle, now = Service(calls, seconds), Throttle("s"), 0.0
    ending: list[tuple[float, int, float | None]] = []
    while now < windows * seconds:
        if throttle.until and not throttle.is_held(now):
            throttle.release(now)
        throttle.roll(now)
        room = throttle.room(now)
        free = concurrency - len(ending)
        for _ in range(free if room is None else min(free, room)):
            ordinal, until = throttle.start(), service.call(now)
            heapq.heappush(ending, (now + (took if until is None else took / 10), ordinal, until))
        times = [entry[0] for entry in ending[:1]] + [when for when in [throttle.next_time(now)] if when is not None]
        now = max(now, min(times))
        while ending and ending[0][0] <= now:
            _, ordinal, until = heapq.heappop(ending)
            throttle.end(ordinal, until is None, took)
            if until is not None and until > now:
                throttle.hold(until, "limit", "429", now)
    return service


@settings(max_examples=25)
@given(st.integers(5, 60), st.integers(2, 50))
def test_a_shared_limit_is_used_up_and_hardly_overstepped(calls: int, concurrency: int) -> None:
    """At least 95 % of what is allowed after the first window, and at most two wasted calls a window."""
    service = simulate(calls, seconds=60.0, concurrency=concurrency, windows=8, took=0.5)
    later = [service.served.get(window, 0) for window in range(2, 7)]
    assert sum(later) >= 0.95 * calls * len(later)
    assert max(service.refused.get(window, 0) for window in range(2, 7)) <= 2
