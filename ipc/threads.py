"""Work that may take long, done in a thread so that the loop of a daemon's process goes on turning.

The pool starts its threads when it needs them; a machine that has none to give costs only the one who asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from ipc.errors import MozartError

P = ParamSpec("P")
T = TypeVar("T")


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


def _work(wanted: list[bool], call: Callable[[], T]) -> T:
    if not wanted:
        raise InterruptedError
    return call()
