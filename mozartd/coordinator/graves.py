"""Nobody is left of what a dead worker ran: asked before any of it runs again.

The supervisor kills what came home to it; the coordinator waits for that, by the kernel's word, and looks again, because what
was being started at one look is there at the next. Kills nobody itself. Called by `crew`, and at start.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection
from contextlib import suppress

from ipc.errors import MozartError
from ipc.threads import in_thread
from mozartd.orphans import find_strays
from mozartd.processes import Process

log = logging.getLogger(__name__)

#: Processes waited for at once: each costs a file descriptor.
WATCHED_AT_ONCE = 32
#: Seconds after which what hangs in the kernel is left to itself.
PATIENCE = 60.0
#: Seconds between two looks while there is no descriptor to wait with.
BLIND_SECONDS = 0.5

Look = Callable[[], Collection[Process]]


def strays_of(state: str, supervisor: int, keep: Collection[str], workers: Callable[[], Collection[int]]) -> Look:
    """What is nobody's among the living: neither a worker's nor a child that the supervisor has just forked."""

    def look() -> Collection[Process]:
        spared = {os.getpid(), *workers()}
        words = _words(supervisor)
        found = find_strays(state, spared, keep, supervisor)
        # Its own children have not executed anything else: what they say of themselves is what it says.
        forks = {process.pid for process in found if process.parent == supervisor and _words(process.pid) == words}
        return find_strays(state, spared | forks, keep, supervisor) if forks else found

    return look


def _words(pid: int) -> bytes:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read(4096)
    return b""


async def nobody_left(look: Look) -> None:
    """Return when a look finds nobody, or what it finds does not die."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while found := await _looked(look):
        left = deadline - loop.time()
        if left <= 0:
            pids = ", ".join(str(process.pid) for process in found)
            log.warning("cannot wait any longer for what a dead worker left behind: %s", pids)
            return
        await _gone(loop, list(found)[:WATCHED_AT_ONCE], left)


async def _looked(look: Look) -> Collection[Process]:
    # In a thread: nobody knows how many processes the machine has.
    try:
        return await in_thread(look)
    except MozartError:
        return look()


async def _gone(loop: asyncio.AbstractEventLoop, processes: list[Process], seconds: float) -> None:
    ends = []
    for process in processes:
        with suppress(OSError):
            ends.append(_end_of(loop, os.pidfd_open(process.pid)))
    # Who is gone by now has no descriptor; without any, look again, but not in a circle.
    await (asyncio.wait(ends, timeout=seconds) if ends else asyncio.sleep(BLIND_SECONDS if processes else 0))
    for end in ends:
        end.cancel()


def _end_of(loop: asyncio.AbstractEventLoop, handle: int) -> asyncio.Future[None]:
    end: asyncio.Future[None] = loop.create_future()

    def forget(_: asyncio.Future[None]) -> None:
        loop.remove_reader(handle)
        os.close(handle)

    def died() -> None:
        if not end.done():
            end.set_result(None)

    loop.add_reader(handle, died)
    end.add_done_callback(forget)
    return end
