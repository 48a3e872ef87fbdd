"""What a request about a job of 100,000 sheets costs the coordinator's loop at a time, and what an end does that concerns all.

The request path in this process (`tests.faults.desk`), with a real store: the loop is asked what its thread used between two
waits, exactly, which no sampler can say.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from mozartd.coordinator.main import COLLECTING
from mozartd.coordinator.requests import status
from mozartd.store.store import Store
from tests.bench import Row, at_most
from tests.faults.desk import Desk, submission
from tests.process.daemon import write_score

SHEETS = 100_000
MOST_MS = 2.0
SHORT = {"SHEETS": 300}


class Watching(selectors.EpollSelector):
    """Knows the most that its thread has used between two waits."""

    worst = 0.0
    _since = 0.0

    def reset(self) -> None:
        self.worst, self._since = 0.0, time.thread_time()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.worst = max(self.worst, time.thread_time() - self._since)
        try:
            return super().select(timeout)
        finally:
            self._since = time.thread_time()


def measure() -> list[Row]:
    watching, before = Watching(), gc.get_threshold()
    gc.set_threshold(*COLLECTING)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(watching)) as runner:
        took = runner.run(ask_all(watching))
    gc.set_threshold(*before)
    return [at_most(f"{what}, {SHEETS:,} sheets: the loop at a time", ms, "ms", MOST_MS) for what, ms in took.items()]


async def ask_all(watching: Watching) -> dict[str, float]:
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="mzb") as directory:
        store = await Store.open(f"{directory}/mozart.db")
        desk = Desk(store, Path(directory))

        async def timed(what: str, asking: Awaitable[Any]) -> Any:
            await asyncio.sleep(0)
            watching.reset()
            answer = await asking
            await quiet(desk)
            took[what] = 1000 * watching.worst
            return answer

        await ask_about(desk, timed, submission(score_of(Path(directory), {})))
        await end_one(desk, timed, Path(directory))
        await store.close()
    return took


async def ask_about(desk: Desk, timed: Any, given: dict[str, Any]) -> None:
    job = (await timed("submit", desk.ask("submit", **given)))["job"]
    await timed("status", status.one(desk.parts, job, 0))
    for method in ("list", "limits"):
        await timed(method, desk.ask(method))
    await timed("hold", desk.ask("hold", scope="x"))
    for method in ("pause", "resume"):
        await timed(method, desk.ask(method, job=job))
    await timed("priority", desk.ask("priority", job=job, priority=3))
    await timed("modify", desk.ask("modify", job=job, yes=True, **given))
    await timed("cancel", desk.ask("cancel", job=job))
    await desk.end_all()
    await timed("retry", desk.ask("retry", job=job))
    await desk.ask("cancel", job=job)
    await desk.end_all()
    await quiet(desk)


async def end_one(desk: Desk, timed: Any, directory: Path) -> None:
    """What follows for all the others, from one sheet."""
    everything = {n: [1] for n in range(2, SHEETS + 1)}
    free = submission(score_of(directory, {}, fail_fast=True))
    behind = submission(score_of(directory, everything, fail_fast=False))
    for what, given, end in (
        ("one fails, fail_fast", free, fail),
        ("one fails that all need", behind, fail),
        ("one completes that all need", behind, Desk.end),
        ("cancel one that all need", behind, cancel),
    ):
        job = (await desk.ask("submit", **given))["job"]
        await desk.settle()
        await timed(what, end(desk, next(iter(desk.book.running))))
        if job in desk.book.jobs:
            await desk.ask("cancel", job=job)
        await desk.end_all()
        await quiet(desk)


async def fail(desk: Desk, attempt: str) -> None:
    await desk.end(attempt, "missing", "E505")


async def cancel(desk: Desk, attempt: str) -> None:
    await desk.ask("cancel", job=attempt.partition(":")[0], sheets=[1])
    await desk.end(attempt, "cancelled")


async def quiet(desk: Desk) -> None:
    """Until all that follows is done."""
    await desk.settle()
    while desk.book.later or desk.book.shut:
        await desk.settle()


def score_of(directory: Path, dependencies: dict[int, list[int]], **parallel: bool) -> Path:
    size = {"size": 1, "total_items": SHEETS, "dependencies": dependencies}
    parallel = {"enabled": True, **parallel}
    return write_score(directory, "say 1", sheet=size, parallel={"max_concurrent": 4, **parallel})
