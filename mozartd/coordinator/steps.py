"""Long work of a request, in steps between which others have the loop.

A step takes less than a millisecond, and with it go the rows of what it changed: so neither the work nor the next commit keeps
the loop for long. What fits into one step is one transaction with its answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from ipc.states import SHEET_ENDED
from ipc.threads import in_thread, uncollected
from mozartd.coordinator.model import Job, Sheet
from mozartd.coordinator.turn import Turn

T = TypeVar("T")

#: Seconds of a step.
STEP = 0.0006
#: Rows that take no longer.
FEW = 30


async def in_steps(turn: Turn, work: Iterable[T]) -> list[T]:
    """What `work` gives; it does something whenever it is asked for the next one."""
    done: list[T] = []
    until = time.perf_counter() + STEP
    for one in work:
        done.append(one)
        if time.perf_counter() > until:
            await turn.collect()
            until = time.perf_counter() + STEP
    return done


async def yielding(work: Iterable[T]) -> AsyncIterator[T]:
    """The same for who only looks."""
    until = time.perf_counter() + STEP
    for one in work:
        yield one
        if time.perf_counter() > until:
            await asyncio.sleep(0)
            until = time.perf_counter() + STEP


async def apart(rows: int, call: Callable[[], T]) -> T:
    """What `call` makes of so many rows: in a thread when they are many. Few are there also where no thread can be had."""
    return await in_thread(uncollected, call) if rows > FEW else call()


async def open_sheets(job: Job) -> list[Sheet]:
    """Those that have not ended."""
    return [sheet async for sheet in yielding([*job.sheets.values()]) if sheet.state not in SHEET_ENDED]
