"""Keeps the logs within their bounds: has rounds played (`rounds`), in one thread of its own, a little at a time.

Somebody says of which job something may be `due`; nothing polls. Only what has changed is looked at, but for the first time.
Gentle: its thread rests three times as long as it worked, and a round is followed by twenty times its length without one.
`mozart gc` is not made to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from ipc.paths import Paths
from mozartd.coordinator import shelf
from mozartd.coordinator.retention import PROMPT, Action, Bounds, Drop, Mend, Pack, Tidy
from mozartd.coordinator.rounds import Rounds

log = logging.getLogger(__name__)
T = TypeVar("T")

#: How many times as long as it worked the thread rests: between two steps, and between two rounds.
STEP_REST, ROUND_REST = 3.0, 20.0
#: Seconds of work after which it rests, so that rests are long enough to be some.
REST_AFTER = 0.001
#: Seconds that it rests all the same when somebody waits: the loop needs the interpreter, too.
LEAST_REST = 0.0002
#: Seconds after which a round lets others at the logs who have come meanwhile.
HOP_SECONDS = 0.2
#: Seconds until it looks again when it could not.
RETRY_LOOK = 60.0


class Keeper:
    """`running` gives the attempts that run now. Made, and closed, by the coordinator's composition."""

    def __init__(self, paths: Paths, bounds: Bounds, running: Callable[[], Collection[str]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._paths, self._bounds = paths, bounds
        self._rounds = Rounds(paths.logs, running)
        self._thread = ThreadPoolExecutor(1, "keeper")
        # Started now: later the machine may have no thread to give.
        self._thread.submit(int)
        self._one_at_a_time = asyncio.Lock()
        self._hurried = 0
        self._guests = 0
        """Who waits for the thread beside a round."""
        self._stop = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._changed: set[str] | None = None
        """Jobs to look at in the next round; None: all."""
        self._timer: asyncio.Handle | None = None
        self._wakes_at = 0.0
        self._rests_until = 0.0

    def __repr__(self) -> str:
        return f"<Keeper of {self.bytes} bytes{', at work' if self._task else ''}>"

    @property
    def bytes(self) -> int:
        """All logs', as last seen."""
        return self._rounds.bytes

    # -- in time

    def due(self, job: str | None = None, at: float = 0.0) -> None:
        """Something of that job may be to be done, or of one that was seen before: now, or at that time."""
        if self._stop.is_set():
            return
        if job is not None and self._changed is not None:
            self._changed.add(job)
        if self._task is not None:
            return  # When that is over it looks who has come.
        when = max(self._rests_until, self._loop.time() + max(0.0, at - time.time()))
        if self._timer is not None:
            if self._wakes_at <= when:
                return
            self._timer.cancel()
        self._wakes_at = when
        self._timer = self._loop.call_at(when, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = self._loop.create_task(self._keep(), name="keeper")

    async def _keep(self) -> None:
        jobs, self._changed = self._changed, set()
        began = self._loop.time()
        due_at: float | None = None
        try:
            steps = self._rounds.play(jobs and sorted(jobs), self._bounds, time.time(), self._try)
            over = False
            while not over:
                async with self._one_at_a_time:
                    over = await self._in_thread(lambda: self._advance(steps))
            due_at = await self._in_thread(self._rounds.next_at)
        except OSError as error:
            log.warning("cannot look at the logs: %s; trying again in %g s", error, RETRY_LOOK)
            self._changed = None if jobs is None else self._changed | jobs
            due_at = time.time() + RETRY_LOOK
        finally:
            self._task = None
        self._rests_until = self._loop.time() + ROUND_REST * (self._loop.time() - began)
        if self._changed:
            self.due()
        if due_at is not None:
            # What could not be compressed now is not tried all the time.
            self.due(at=due_at if due_at > time.time() else time.time() + RETRY_LOOK)

    def _advance(self, steps: Iterator[None]) -> bool:
        """In the thread: go on for a while. Whether that was all."""
        until = time.monotonic() + HOP_SECONDS
        began = time.thread_time()
        for _ in steps:
            worked = time.thread_time() - began
            if worked >= REST_AFTER:
                self._rest(worked)
                began = time.thread_time()
                if self._stop.is_set():
                    return True
                if self._guests or time.monotonic() >= until:
                    return False
        return True

    # -- at once

    @contextlib.asynccontextmanager
    async def at_once(self) -> AsyncIterator[None]:
        """Meanwhile nobody else works on the logs, and nobody rests."""
        self._hurried += 1
        try:
            async with self._one_at_a_time:
                yield
        finally:
            self._hurried -= 1

    async def play(self, jobs: list[str], act: Callable[[Action], None], *, dry_run: bool) -> int:
        """A round over these now, also of what would be compressed only later. `act` hears of each step, in the thread. How
        many bytes there were."""
        bounds = self._bounds if self._bounds.pack_after is None else replace(self._bounds, pack_after=0.0)
        rounds = Rounds(self._paths.logs, self._rounds.running) if dry_run else self._rounds

        def do(action: Action) -> None:
            act(action)
            if not dry_run:
                self._try(action)

        await self._play(rounds.play(jobs, bounds, time.time(), do))
        return rounds.seen

    async def count(self, jobs: list[str], tell: Callable[[int, int, str], None]) -> None:
        """Bytes and files of each, told in the thread."""

        def steps() -> Iterator[None]:
            for job in jobs:
                size = files = 0
                for each in shelf.scan(self._paths.logs, job):
                    size, files = size + each.bytes, files + len(each.pieces)
                    yield
                tell(size, files, job)
                yield

        await self._play(steps())

    async def _play(self, steps: Iterator[None]) -> None:
        while not await self._in_thread(lambda: self._advance(steps)):
            pass

    async def remove(self, jobs: Collection[str]) -> None:
        """They are forgotten: all that is kept of them here goes. A round that is under way lets us through."""

        def remove() -> None:
            for job in jobs:
                self._rounds.forget(job)
                try:
                    shelf.remove(self._paths.logs, job, self._stop.is_set)
                except OSError as error:
                    log.warning("cannot remove the logs of %s: %s", job, error)

        self._guests += 1
        try:
            await self._in_thread(remove)
        finally:
            self._guests -= 1

    async def _in_thread(self, call: Callable[[], T]) -> T:
        if self._stop.is_set():
            raise asyncio.CancelledError  # It is over for everybody, also for who has only just asked.
        return await self._loop.run_in_executor(self._thread, call)

    # -- the work, in the thread

    def _try(self, action: Action) -> None:
        if self._stop.is_set():
            return
        try:
            self._act(action)
        except FileNotFoundError:
            return  # Somebody was faster: a job was forgotten, or `mozart gc` came between look and work.
        except OSError as error:
            log.warning("cannot keep the logs in order: %s", error)

    def _act(self, action: Action) -> None:
        path = self._paths.attempt_log(action.log.job, action.log.sheet, action.log.k)
        match action:
            case Tidy(_, piece):
                shelf.tidy(path, piece)
            case Mend(_, segment, start, end):
                shelf.mend(path, segment, start, end)
            case Drop(_, pieces, why):
                log.info("removing %d bytes of %s: %s", action.bytes, path, why)
                shelf.drop(path, action.starts, why)
                for piece in pieces:
                    if piece.kind == PROMPT:
                        shelf.tidy(path, piece)
            case Pack(_, start, _):
                shelf.compress(path, start, self._rest)

    def _rest(self, worked: float) -> bool:
        """Between two steps, or two blocks. True: stop working."""
        return self._stop.wait(LEAST_REST if self._hurried else STEP_REST * worked)

    def close(self) -> None:
        """Returns when the thread has stopped: within a block's time."""
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(cancel_futures=True)
