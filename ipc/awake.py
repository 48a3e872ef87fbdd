"""The time in which this process could run: a clock without the gaps in which it was stopped, frozen or not scheduled.

`docker pause`, Ctrl-Z, a debugger and a virtual machine's snapshot stop a process, and the machine's clock goes on. A
patience that is judged by that clock is over before anybody could have done anything. Whoever sleeps says for how long it
means to; one that comes back much later was not there, and that time does not count. Used by the supervisor and by workers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

#: Seconds beyond what was meant from which a process was not late but away.
GAP_SECONDS = 5.0


class Awake:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen = clock()
        self._due = math.inf
        self.lost = 0.0
        """Seconds that did not count, so far."""

    def __repr__(self) -> str:
        return f"<Awake, {self.lost:.1f} s lost>"

    def rest(self, seconds: float) -> None:
        """Somebody here looks again by then, whatever happens."""
        self._due = self._clock() + seconds

    def now(self, meant: float = math.inf) -> float:
        """`meant`: the reading of the clock below at which whoever asks wanted to be woken."""
        if self._clock() - min(self._due, meant) > GAP_SECONDS:
            return self.away()
        self._seen = self._clock()
        return self._seen - self.lost

    def away(self) -> float:
        """The time now, for whoever knows that we were not there. Nothing counts since we were last seen: how much of that
        was still sleep is not to be known."""
        real = self._clock()
        self.lost += real - self._seen
        self._seen = self._due = real
        return real - self.lost

    def real(self, moment: float) -> float:
        """When the clock below will show what this one calls `moment`, if nothing comes between."""
        return moment + self.lost
