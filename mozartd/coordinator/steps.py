"""Long work of a request, in steps between which others have the loop.

A step takes about a millisecond, and what it changed is on disk before the next one: so neither the work nor the making of
its rows keeps the loop for long. What fits into one step is one transaction with its answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TypeVar

from mozartd.coordinator.turn import Turn

T = TypeVar("T")

#: Seconds of a step.
STEP = 0.0006


async def in_steps(turn: Turn, work: Iterable[T]) -> list[T]:
    """What `work` gives; it does something whenever it is asked for the next one."""
    done: list[T] = []
    until = time.perf_counter() + STEP
    for one in work:
        done.append(one)
        if time.perf_counter() > until:
            await turn.shown()
            until = time.perf_counter() + STEP
    return done
