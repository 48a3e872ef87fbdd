"""Who changes very many sheets of a job has it to himself: nothing of it starts, it does not end, and nobody else does so.

`at` is for requests; what follows for many sheets from one sheet's end (`Book.later`) is done here, too, in steps. With `shut`
the sheets stay exactly as they are: another version of the job is made aside, and what comes for them meanwhile (reports of
agents, the ends of waits) is kept until that version has taken their place, or was refused. So whoever looks sees the one or
the other, and so does the disk: a version is one transaction. `turn` owns it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from mozartd.coordinator.book import Book

#: Seconds of a step.
STEP = 0.0006


class Alone:
    """`collect` makes rows of what was changed and lets others have the loop; `due` runs the turn."""

    def __init__(self, book: Book, collect: Callable[[], Awaitable[None]], due: Callable[[], None]) -> None:
        self._book, self._collect, self._due = book, collect, due
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        """By id, jobs that somebody has for himself, and who waits for them."""
        self._following: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Alone {len(self._waiting)} jobs>"

    @asynccontextmanager
    async def at(self, job: str, *, shut: bool = False) -> AsyncIterator[None]:
        await self._take(job)
        mine = self._book.jobs.get(job)
        if mine is not None:
            mine.is_busy += 1
            self._book.touch(mine)
        try:
            await self._follow(job)
            if shut:
                self._book.shut[job] = deque()
                await self._collect()
            try:
                yield
            finally:
                await self._open(job)
                await self._follow(job)
        finally:
            if mine is not None:
                mine.is_busy -= 1
                self._book.touch(mine)
                self._book.end_if_over(mine, time.time())
            self._let(job)

    async def opened(self, job: str) -> None:
        """Return when the job's sheets may be changed: at once, or when its other version has been made."""
        while job in self._book.shut:
            await self._wait(job)

    def follow(self) -> None:
        """See to it that what was left for later is done."""
        for job in self._book.later.keys() - self._waiting.keys():
            self._waiting[job] = []
            task = asyncio.get_running_loop().create_task(self._only_follow(job), name=f"follow {job}")
            self._following.add(task)
            task.add_done_callback(self._following.discard)

    async def _only_follow(self, job: str) -> None:
        self._let(job)
        async with self.at(job):
            pass

    async def _take(self, job: str) -> None:
        while job in self._waiting:
            await self._wait(job)
        self._waiting[job] = []

    async def _wait(self, job: str) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting[job].append(done)
        await done

    def _let(self, job: str) -> None:
        for done in self._waiting.pop(job):
            if not done.done():
                done.set_result(None)
        self._due()

    async def _follow(self, job: str) -> None:
        if job not in self._book.later:
            return
        until = time.perf_counter() + STEP
        for _ in self._book.following(self._book.jobs[job]):
            if time.perf_counter() > until:
                await self._collect()
                until = time.perf_counter() + STEP

    async def _open(self, job: str) -> None:
        calls = self._book.shut.get(job, deque())
        until = time.perf_counter() + STEP
        while calls:
            calls.popleft()()
            if time.perf_counter() > until:
                await self._collect()
                until = time.perf_counter() + STEP
        self._book.shut.pop(job, None)
