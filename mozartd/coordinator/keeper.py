"""Keeps the logs within their bounds: looks, plans (`retention`), and has it done (`shelf`), in one thread of its own.

Somebody says that something may be `due`; nothing polls. Gentle: one file at a time, its thread rests three times as long as
it worked, and a look at everything is followed by twenty times its length without one. `mozart gc` is not made to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ipc.paths import Paths
from mozartd.coordinator import shelf
from mozartd.coordinator.retention import Action, AttemptLog, Bounds, Drop, Mend, Pack, Plan, Tidy, plan

log = logging.getLogger(__name__)

#: How many times as long as it worked the thread rests: between two blocks, and between two looks at everything.
BLOCK_REST, LOOK_REST = 3.0, 20.0
#: Seconds until it looks again when it could not.
RETRY_LOOK = 60.0


class Keeper:
    """`running` gives the attempts that run now. Made, and closed, by the coordinator's composition."""

    def __init__(self, paths: Paths, bounds: Bounds, running: Callable[[], Collection[str]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._paths, self._bounds, self._running = paths, bounds, running
        self._thread = ThreadPoolExecutor(1, "keeper")
        # Started now: later the machine may have no thread to give.
        self._thread.submit(int)
        self._one_at_a_time = asyncio.Lock()
        self._hurried = 0
        self._stop = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._timer: asyncio.Handle | None = None
        self._wakes_at = 0.0
        self._rests_until = 0.0
        self.bytes = 0
        """All logs', when it last looked."""

    def __repr__(self) -> str:
        return f"<Keeper of {self.bytes} bytes{', at work' if self._task else ''}>"

    # -- in time

    def due(self, at: float = 0.0) -> None:
        """Something may be to be done: now, or at that time."""
        if self._stop.is_set():
            return
        when = max(self._rests_until, self._loop.time() + max(0.0, at - time.time()))
        if self._timer is not None:
            if self._wakes_at <= when:
                return
            self._timer.cancel()
        self._wakes_at = when
        self._timer = self._loop.call_at(when, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._task is not None:
            self._again = True
            return
        self._task = self._loop.create_task(self._keep(), name="keeper")

    async def _keep(self) -> None:
        self._again = False
        try:
            plan = self.plan(await self.look())
            due_at = plan.due_at
            for action in plan.actions:
                async with self._one_at_a_time:
                    await self._do(action)
        except OSError as error:
            log.warning("cannot look at the logs: %s; trying again in %g s", error, RETRY_LOOK)
            due_at = time.time() + RETRY_LOOK
        finally:
            self._task = None
        if self._again:
            self.due()
        elif due_at is not None:
            self.due(due_at)

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

    async def look(self) -> list[AttemptLog]:
        began = self._loop.time()
        logs = await self._loop.run_in_executor(self._thread, shelf.scan, self._paths.logs)
        self._rests_until = self._loop.time() + LOOK_REST * (self._loop.time() - began)
        return logs

    def plan(self, logs: list[AttemptLog], *, soon: bool = False) -> Plan:
        """Of what was seen just now. `soon`: also what would be compressed only later."""
        # Asked after the look: whatever that has seen of an attempt that does not run now is all of it.
        bounds = self._bounds
        if soon and bounds.pack_after is not None:
            bounds = replace(bounds, pack_after=0.0)
        found = plan(logs, self._running(), bounds, time.time())
        self.bytes = found.bytes
        return found

    async def carry_out(self, plan: Plan) -> None:
        for action in plan.actions:
            await self._do(action)

    # -- the work

    async def _do(self, action: Action) -> None:
        try:
            await self._loop.run_in_executor(self._thread, self._act, action)
        except FileNotFoundError:
            return  # Somebody was faster: a job was forgotten, or `mozart gc` came between plan and work.
        except OSError as error:
            log.warning("cannot keep the logs in order: %s", error)

    def _act(self, action: Action) -> None:
        """In the thread."""
        path = self._paths.attempt_log(action.log.job, action.log.sheet, action.log.k)
        if self._stop.is_set():
            return
        match action:
            case Tidy(_, piece):
                shelf.tidy(path, piece)
            case Mend(_, segment, start, end):
                shelf.mend(path, segment, start, end)
            case Drop(_, starts, count, why):
                log.info("removing %d bytes of %s: %s", count, path, why)
                shelf.drop(path, starts, why)
            case Pack(_, start, _):
                shelf.compress(path, start, self._rest)

    def _rest(self, worked: float) -> bool:
        """In the thread, between two blocks. True: stop working."""
        return self._stop.wait(0.0 if self._hurried else BLOCK_REST * worked)

    def close(self) -> None:
        """Returns when the thread has stopped: within a block's time."""
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(cancel_futures=True)
