"""The agent's process: started, listened to, timed, stopped when it must be, swept up after.

Says how it ended, never what that means. Called by `attempt`, with everything it needs as arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from backends.base import STDERR, STDOUT, Command, Event, Limited, Result, Waiting
from workers import stop
from workers.capture import Capture
from workers.clocks import LIMITED, POST_RESULT, Clocks
from workers.halt import CANCELLED, INTERRUPTED, Halt
from workers.memory import oom_kills
from workers.spawn import Child, Children, explain, spawn
from workers.spool import open_spool
from workers.stop import Traces
from workers.terminal import open_terminal

UNWRITABLE, CAPPED = "unwritable", "capped"


@dataclass(slots=True)
class Ran:
    """An agent's life, as seen from outside."""

    pid: int
    started_at: float
    exit_code: int | None = None
    signal: int | None = None
    stopped_by: str | None = None
    """As in `backends.base.Ending`."""
    survivors: int = 0
    oom_kills: int = 0
    """What the kernel's counter said when it started."""


class Vigil:
    """Why to stop the agent: a clock, a limit in its output, a log that cannot be written, a halt. The first wins."""

    def __init__(self, children: Children, halt: Halt) -> None:
        self.reason: str | None = None
        self.over: asyncio.Future[None] = children.loop.create_future()
        self._loop, self._awake, self._halt = children.loop, children.awake, halt
        self._clocks: Clocks | None = None
        self._last_output: Callable[[], float | None] = lambda: None
        self._timer: asyncio.TimerHandle | None = None
        halt.requested.add_done_callback(self._on_halt)

    def interrupt(self) -> None:
        """Its end was not its own."""
        self._halt.request(INTERRUPTED, "the daemon was stopped")

    def begin(self, clocks: Clocks, last_output: Callable[[], float | None]) -> None:
        """The agent runs from now on."""
        self._clocks, self._last_output = clocks, last_output
        self._arm()

    def see(self, event: Event) -> None:
        """An event from the agent's output."""
        if isinstance(event, Limited):
            if not event.patient:
                self.stop(LIMITED)
        elif isinstance(event, Result) and event.stop:
            self.stop(POST_RESULT)
        elif isinstance(event, Result) and self._clocks is not None and self._clocks.result_at is None:
            self._clocks.result_at = self._awake.now()
            self._arm()
        elif isinstance(event, Waiting) and self._clocks is not None:
            self._clocks.retry_by = None if event.seconds is None else self._awake.now() + event.seconds
            self._arm()

    @property
    def has_result(self) -> bool:
        """It is about to end by itself."""
        return self._clocks is None or self._clocks.result_at is not None

    def stop(self, reason: str) -> bool:
        """False when it is over already."""
        if self.over.done():
            return False
        self.reason = reason
        self.over.set_result(None)
        return True

    def close(self) -> None:
        """The agent has ended: nothing can be a reason any more, also not a result that is read only now."""
        self._clocks = None
        self._halt.requested.remove_done_callback(self._on_halt)
        if self._timer is not None:
            self._timer.cancel()

    def _on_halt(self, _: asyncio.Future[None]) -> None:
        # To a backend both kinds are the same: we wanted it to end. `attempt` knows which it was.
        self.stop(CANCELLED)

    def _arm(self) -> None:
        assert self._clocks is not None
        if self._timer is not None:
            self._timer.cancel()
        due = self._awake.real(self._clocks.next(self._last_output())[0])
        self._timer = self._loop.call_at(due, self._ring, due)

    def _ring(self, due: float) -> None:
        self._awake.now(due)
        # When we come late, output and the agent's end may be there to be read: that first.
        self._loop.call_soon(self._loop.call_soon, self._judge)

    def _judge(self) -> None:
        if self._clocks is None:
            return
        due, meaning = self._clocks.next(self._last_output())
        if due <= self._awake.now():
            self.stop(meaning)
        else:
            self._arm()


async def run_agent(
    command: Command,
    clocks: Clocks,
    capture: Capture,
    vigil: Vigil,
    *,
    children: Children,
    traces: Traces,
    running: Collection[Traces],
    directory: str,
    environment: Mapping[str, str],
    spool: str,
    pty: bool,
    on_start: Callable[[Ran], None],
) -> Ran:
    """From spawn to the last swept descendant and the last byte it wrote. Raises MozartError when it cannot start."""
    child = _start(
        command, capture, children, spool, pty, directory, {**environment, **command.environment}, traces.tag
    )
    traces.sessions.add(child.pid)
    ran = Ran(child.pid, time.time(), oom_kills=oom_kills())
    try:
        on_start(ran)
        vigil.begin(clocks, lambda: capture.last_output if capture.bytes else None)
        await asyncio.wait((child.ended, vigil.over), return_when=asyncio.FIRST_COMPLETED)
    finally:
        vigil.close()
        if not child.ended.done():
            ran.stopped_by = vigil.reason
            await stop.stop(children, child, command.stop, traces)
        ran.survivors = await stop.sweep(children, traces, running)
        # Whoever still holds the pipe is dead or a survivor: nobody waits for its end.
        capture.drain()
    ran.exit_code, ran.signal = child.exit_code, child.signal
    if ran.stopped_by is None and await children.died_with_us(child):
        vigil.interrupt()
    return ran


def _start(
    command: Command,
    capture: Capture,
    children: Children,
    spool: str,
    pty: bool,
    directory: str,
    environment: Mapping[str, str],
    tag: int,
) -> Child:
    # The ends that the agent gets are closed here in any case; the others are the capture's.
    with contextlib.ExitStack() as agents:
        try:
            stdout = _stdout(capture, command, spool, pty)
            agents.callback(os.close, stdout)
            stderr = _pipe(capture, STDERR)
            agents.callback(os.close, stderr)
        except OSError as error:
            raise explain(error, command.argv[0], directory) from None
        return spawn(
            children,
            command.argv,
            directory=directory,
            environment=environment,
            stdin=command.stdin,
            stdout=stdout,
            stderr=stderr,
            tag=tag,
        )


def _stdout(capture: Capture, command: Command, spool: str, pty: bool) -> int:
    if pty:
        ours, agents = open_terminal()
        capture.attach_terminal(STDOUT, ours)
        return agents
    return _spool(capture, spool) if command.spool else _pipe(capture, STDOUT)


def _pipe(capture: Capture, name: str) -> int:
    reading, writing = os.pipe()
    capture.attach(name, reading)
    return writing


def _spool(capture: Capture, path: str) -> int:
    writing = open_spool(path)
    try:
        capture.attach_spool(STDOUT, path)
    except OSError:
        os.close(writing)
        raise
    finally:
        # Both have it open and nobody else needs it by name: so it is gone with them, however they end.
        os.unlink(path)
    return writing
