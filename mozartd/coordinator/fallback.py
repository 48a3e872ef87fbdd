"""On which of its backends a sheet runs: its own, or a fallback when that one is held for too long, has no program, has failed
or is too weak for the prompt; and why.

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
    too long, the one that is free soonest. Those before `first` do not come into question."""
    waits = [max(0.0, held_until(choice.scope) - now) for choice in choices]
    for i in range(first, len(choices)):
        patience = choices[i + 1].max_wait if i + 1 < len(choices) else 0.0
        if waits[i] <= patience:
            return i
    return min(range(first, len(choices)), key=waits.__getitem__, default=0)


def why_moved(choices: Sequence[Choice], history: History, choice: int, held_until: HeldUntil, now: float) -> str:
    """Why a sheet leaves the choice that its history names for another one."""
    scope = choices[history.choice].scope
    if history.choice < history.first:
        return history.passed_over or f"{scope} cannot be used"
    if choice < history.choice:
        return f"{choices[choice].scope} is free again"
    wait = held_until(scope) - now
    return f"{scope} is held for " + (f"{wait:.0f} s" if wait < math.inf else "until it is cleared")


def after_failure(choices: Sequence[Choice], choice: int, is_missing: bool) -> int:
    """Which choice is the first from now on, when an attempt on this one failed; 0: it stays. A missing program leads to
    the next."""
    if not choices or choices[choice].on_failure:
        return choices[choice].on_failure if choices else 0
    behind = choice + 1
    return behind if is_missing and behind < len(choices) and choices[behind].max_wait < math.inf else 0


def reason(choices: Sequence[Choice], history: History) -> str:
    """Why an attempt runs on the choice that was made; empty when there was nothing to decide."""
    if history.choice != history.first:
        return f"{choices[history.first].scope} was held for longer than max_wait"
    return history.passed_over or history.complexity
