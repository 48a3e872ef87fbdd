"""The shared limit once more, as a simulator: the real throttle, a fake clock, an API of 60 calls in 5 hours and 50 callers.

What `shared_limit` measures in real processes for some seconds, this shows for windows as services have them.
"""

from __future__ import annotations

import heapq

from mozartd.coordinator.throttle import Throttle
from tests.bench import Row

CALLS, SECONDS, TOOK = 60, 5 * 3600.0, 240.0
CALLERS, WINDOWS = 50, 8


def measure() -> list[Row]:
    served, refused = play(CALLS, SECONDS, CALLERS, WINDOWS, TOOK)
    later = range(2, WINDOWS - 1)
    used = sum(served.get(n, 0) for n in later) / (CALLS * len(later))
    wasted = sum(refused.get(n, 0) for n in later) / len(later)
    return [
        Row("allowed calls used, simulated 5 h windows", f"{used:.0%}", "", "≥ 95 %", used, used >= 0.95),
        Row("calls wasted a window, simulated", f"{wasted:.1f}", "", "≤ 2", wasted, wasted <= 2),
    ]


def play(calls: int, seconds: float, callers: int, windows: int, took: float) -> tuple[dict[int, int], dict[int, int]]:
    """Calls served and refused in each window of a service that allows so many, when so many callers share one throttle."""
    served: dict[int, int] = {}
    refused: dict[int, int] = {}
    throttle, now = Throttle("s"), 0.0
    ending: list[tuple[float, int, float | None]] = []
    while now < windows * seconds:
        if throttle.until and not throttle.is_held(now):
            throttle.release(now)
        throttle.roll(now)
        room, free = throttle.room(now), callers - len(ending)
        for _ in range(free if room is None else min(free, room)):
            window = int(now // seconds)
            is_served = served.get(window, 0) < calls
            counts = served if is_served else refused
            counts[window] = counts.get(window, 0) + 1
            until = None if is_served else (window + 1) * seconds
            heapq.heappush(ending, (now + (took if is_served else took / 10), throttle.start(), until))
        times = [entry[0] for entry in ending[:1]] + [when for when in [throttle.next_time(now)] if when is not None]
        now = max(now, min(times))
        while ending and ending[0][0] <= now:
            _, ordinal, until = heapq.heappop(ending)
            throttle.end(ordinal, until is None, took)
            if until is not None and until > now:
                throttle.hold(until, "limit", "429", now)
    return served, refused
