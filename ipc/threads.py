"""Work that may take long, done in a thread so that the loop of a daemon's process goes on turning.

The pool starts its threads when it needs them; a machine that has none to give costs only the one who asked.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from ipc.errors import MozartError

#: Things that are worth it to be left out where cycles are looked for.
MANY = 20_000

P = ParamSpec("P")
T = TypeVar("T")

_UNCOLLECTED = threading.Lock()
_uncollected = 0
"""Threads that make many things now."""


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` returns. Raises MozartError E010 when there is no thread to be had."""
    return await in_pool(None, call, *args, **kwargs)


async def in_pool(pool: Executor | None, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same in a pool of its own, for what may take seconds: those who read a line of a file do not wait for it."""
    wanted = [True]
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(pool, _work, wanted, lambda: call(*args, **kwargs))
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        # The pool keeps what it could not start, and would do it one day for nobody.
        wanted.clear()
        hint = "the machine ran out of processes or memory; try again when it has room"
        raise MozartError("E010", "cannot start a thread: there is no room for another one", hint) from None


def uncollected(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` returns, which may be very many things that stay and have no cycles: nobody looks for those among them,
    neither now nor later. That would stop all threads, the longer the more there are."""
    global _uncollected
    with _UNCOLLECTED:
        _uncollected += 1
        gc.disable()
    try:
        return call(*args, **kwargs)
    finally:
        with _UNCOLLECTED:
            _uncollected -= 1
            if gc.get_count()[0] > MANY:
                gc.freeze()
            if not _uncollected:
                gc.enable()


async def discard(many: list[Any]) -> None:
    """Empty a list of very many things that nobody else has, bit by bit: giving back their memory takes a while."""
    with suppress(MozartError):
        await in_thread(_discard, many)


def _discard(many: list[Any]) -> None:
    while many:
        del many[-500:]


def _work(wanted: list[bool], call: Callable[[], T]) -> T:
    if not wanted:
        raise InterruptedError
    return call()
