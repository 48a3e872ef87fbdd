"""A worker: a loop that holds a few attempts at once. What the supervisor forks.

Takes assignments, gives each a task, reports its end; obeys cancel, watch, drain and signals. Knows neither the store
nor what happens to a sheet next. `run` is called once, by `mozartd.main`, in a freshly forked process without loop or
threads.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
from collections.abc import Callable, Mapping
from typing import cast

import uvloop

from ipc import blame, forkserver
from ipc.connection import hello
from ipc.environment import lookup_in
from ipc.forkserver import ForkServer
from ipc.frames import Frame
from ipc.messages import Assign, Running
from ipc.setup import DRAIN_SIGNAL, EXIT_OK, EXIT_ORPHANED, WorkerSetup
from workers import machine, stop
from workers.attempt import Attempt, Surroundings
from workers.environment import base_environment
from workers.halt import CANCELLED, INTERRUPTED
from workers.link import Link
from workers.mask import Mask
from workers.spawn import Children

log = logging.getLogger("mozart.worker")

_PR_SET_CHILD_SUBREAPER = 36
#: Seconds between two `progress` frames of an attempt, at least.
PROGRESS_SECONDS = 1.0
#: Seconds between two looks at attempts that print nothing, at most.
QUIET_SECONDS = 8.0
#: Seconds that a stopping worker waits for its last reports to be acknowledged.
ACK_SECONDS = 3.0


def run(setup: WorkerSetup) -> int:
    _adopt_orphans()
    works = forkserver.start()
    blame.begin(setup.inherited.slots, blame.slot_of(setup.name))
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(loop, setup, works)
    try:
        code = loop.run_until_complete(worker.live())
    finally:
        # Whatever ended the loop, nothing may live on below a worker that is gone.
        stop.kill_everything(worker.keep)
    loop.close()
    return code


class Worker:
    """The attempts of this process, and the one answer to each thing that can happen."""

    def __init__(self, loop: asyncio.AbstractEventLoop, setup: WorkerSetup, works: ForkServer) -> None:
        self._loop, self._setup = loop, setup
        self._attempts: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """Held here, because the loop holds them weakly."""
        self._draining = False
        self._exit: asyncio.Future[int] = loop.create_future()
        self._link = Link(loop, setup.paths.worker_socket, self._hello, self._on_frame)
        self._progress = ProgressTimer(loop, self._attempts, self._link.send)
        environment = dict(os.environ)
        children = Children(loop, setup.keep)
        works.belongs_to(children.adopt)
        self._around = Surroundings(
            children=children,
            works=works,
            running={},
            send=self._link.send,
            environment=base_environment(environment),
            lookup=lookup_in(environment),
            state=setup.paths.state,
            mask=lambda values: Mask(setup.mask_patterns, values),
        )

    @property
    def keep(self) -> frozenset[str]:
        return self._around.children.keep

    def __repr__(self) -> str:
        return f"<Worker {self._setup.name} running {sorted(self._attempts)}{' draining' if self._draining else ''}>"

    async def live(self) -> int:
        """Until told to exit. The exit code."""
        if "MOZART_DEBUG_LAG" in os.environ and self._setup.number <= 2:
            from ipc import lag  # For benches only.

            lag.begin(f"worker-{self._setup.number}", self._loop)
        self._loop.add_signal_handler(signal.SIGTERM, self._on_term)
        self._loop.add_signal_handler(DRAIN_SIGNAL, self._drain)
        # Ctrl-C and a hangup reach the whole foreground group; they are the supervisor's to act on. Handled, not ignored:
        # agents would inherit that.
        self._loop.add_signal_handler(signal.SIGINT, lambda: None)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: None)
        # Blocked since before the fork. Agents inherit the mask.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._loop.add_reader(self._setup.inherited.lifeline, self._on_lifeline)
        self._beat()
        self._link.open()
        try:
            return await self._exit
        finally:
            self._link.close()

    # -- what the coordinator says

    def _hello(self) -> Frame:
        setup = self._setup
        return hello(
            "worker",
            worker=setup.name,
            restarts=setup.restarts,
            # A coordinator that comes anew must not count on us while we drain.
            slots=0 if self._draining else machine.bearable(setup.slots),
            running=[attempt.running() for attempt in self._attempts.values()],
            unacknowledged=self._link.unacknowledged,
        )

    def _on_frame(self, frame: Frame) -> None:
        match frame.get("type"):
            case "assign":
                self._assign(cast("Assign", frame))
            case "cancel":
                self._cancel(frame["attempt"], frame["reason"])
            case "cap":
                if attempt := self._attempts.get(frame["attempt"]):
                    attempt.cap(frame["reason"])
            case "watch" | "unwatch":
                if attempt := self._attempts.get(frame["attempt"]):
                    attempt.watch(frame["type"] == "watch")
            case "ack":
                self._link.acknowledge(frame["attempt"])
            case "drain":
                self._drain()
            case other:
                log.warning("the coordinator sent a frame of unknown type %r", other)

    def _assign(self, assignment: Assign) -> None:
        name = assignment["attempt"]
        if name in self._attempts or self._link.remind(name):
            log.warning("attempt %s was assigned twice", name)
            return
        attempt = Attempt(assignment, self._around)
        if self._draining:
            # Sent before our `draining` arrived.
            attempt.halt.request(INTERRUPTED, "the worker is stopping")
        self._attempts[name] = attempt
        self._progress.start()
        task = self._loop.create_task(self._work(attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, attempt: Attempt) -> None:
        report = await blame.steps_of(attempt.id, attempt.run())
        del self._attempts[attempt.id]
        self._link.report(report)
        if self._draining and not self._attempts:
            await self._leave()

    def _cancel(self, name: str, reason: str) -> None:
        if attempt := self._attempts.get(name):
            attempt.halt.request(CANCELLED, reason)
        elif not self._link.remind(name):
            log.warning("cannot cancel attempt %s: it does not run here", name)

    # -- ends

    def _on_term(self) -> None:
        if not self._around.children.stopping.done():
            self._around.children.stopping.set_result(None)
        self._drain()
        task = self._loop.create_task(self._interrupt_later())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        self._link.send({"type": "draining"})
        if not self._attempts:
            self._loop.create_task(self._leave())

    async def _interrupt_later(self) -> None:
        await self._around.children.wait([], self._setup.stop_grace_seconds)
        for attempt in self._attempts.values():
            attempt.halt.request(INTERRUPTED, "the daemon was stopped")

    async def _leave(self) -> None:
        if not await self._link.acknowledged(ACK_SECONDS):
            log.warning("leaving with unacknowledged reports: %r", self._link)
        if not self._exit.done():
            self._exit.set_result(EXIT_OK)

    def _on_lifeline(self) -> None:
        """Nothing is ever written to the lifeline: readable means that the supervisor is gone."""
        self._loop.remove_reader(self._setup.inherited.lifeline)
        log.error("the supervisor died; stopping every agent")
        # `run` kills them once the loop has ended: here their ends would be reaped twice, and reported as their own.
        if not self._exit.done():
            self._exit.set_result(EXIT_ORPHANED)

    def _beat(self) -> None:
        """Say that this loop turns, and bury what nobody else does."""
        os.utime(self._setup.inherited.liveness)
        stop.kill_late(self._around.children, self._around.state, self._around.running.values())
        self._loop.call_later(self._setup.inherited.beat_seconds, self._beat)
        self._around.children.awake.now()
        self._around.children.awake.rest(self._setup.inherited.beat_seconds)


class ProgressTimer:
    """Sends what grew, at most once a second. Looks less often while nothing does, and not at all while nothing runs."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, attempts: Mapping[str, Attempt], send: Callable[[Frame], None]
    ) -> None:
        self._loop, self._attempts, self._send = loop, attempts, send
        self._told: dict[str, int] = {}
        self._seconds = PROGRESS_SECONDS
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """An attempt begins: look at it in a second."""
        if self._timer is None or self._seconds > PROGRESS_SECONDS:
            self._arm(PROGRESS_SECONDS)

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._seconds = seconds
        self._timer = self._loop.call_later(seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        grown = [now for now in (each.running() for each in self._attempts.values()) if self._is_news(now)]
        for now in grown:
            self._send({"type": "progress", "attempt": now["attempt"], "bytes": now["bytes"], "lines": now["lines"]})
        self._told = {name: each.running()["bytes"] for name, each in self._attempts.items()}
        if self._attempts:
            self._arm(PROGRESS_SECONDS if grown else min(2 * self._seconds, QUIET_SECONDS))

    def _is_news(self, now: Running) -> bool:
        return now["bytes"] != self._told.get(now["attempt"], 0)


def _adopt_orphans() -> None:
    """What our agents leave behind comes home to us instead of to the supervisor."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the reaper of orphans")
