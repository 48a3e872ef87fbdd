"""On which of its backends a sheet runs: its own, or a fallback when that one is held for too long or has no program.

Pure. `turn` asks before it starts something, `settle` when an attempt has ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mozartd.coordinator.model import Choice, History

#: Until when a scope is held; 0 when it is not.
HeldUntil = Callable[[str], float]


def choose(choices: Sequence[Choice], first: int, held_until: HeldUntil, now: float) -> int:
    """The first choice that is not held for longer than one would wait before the next is tried. When all are held for
    too long, the one that is free soonest. Those before `first` have no program."""
    waits = [max(0.0, held_until(scope) - now) for scope, _, _ in choices]
    for i in range(first, len(choices)):
        patience = choices[i + 1][1] if i + 1 < len(choices) else 0.0
        if waits[i] <= patience:
            return i
    return min(range(first, len(choices)), key=waits.__getitem__, default=0)


def why_moved(choices: Sequence[Choice], history: History, choice: int, held_until: HeldUntil, now: float) -> str:
    """Why a sheet leaves the choice that its history names for another one."""
    scope = choices[history.choice][0]
    if history.choice < history.first:
        return f"the program of {scope.partition('/')[0]} is missing"
    if choice < history.choice:
        return f"{choices[choice][0]} is free again"
    wait = held_until(scope) - now
    return f"{scope} is held for " + (f"{wait:.0f} s" if wait < math.inf else "as long as nobody acts")
