"""One attempt's request to stop, from outside: a cancel or a daemon that stops. The first reason stays.

Whatever the attempt waits for, it waits for this as well. Set by `main`, watched by `agent`, `commands` and `validate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CANCELLED, INTERRUPTED = "cancelled", "interrupted"


class Halt:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.requested: asyncio.Future[None] = loop.create_future()
        self.verdict = ""
        """CANCELLED or INTERRUPTED; empty while nobody asked."""
        self.reason = ""

    def __repr__(self) -> str:
        return f"<Halt {self.verdict or 'not requested'}>"

    def request(self, verdict: str, reason: str) -> None:
        if not self.verdict:
            self.verdict, self.reason = verdict, reason
            self.requested.set_result(None)

    async def wait(self, seconds: float) -> bool:
        """Wait that long, or until the request. True when it was made."""
        await asyncio.wait([self.requested], timeout=seconds)
        return self.requested.done()

    async def race(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What the work gives; None, and the work given up, when the request comes first."""
        task = asyncio.ensure_future(work)
        either: list[asyncio.Future[Any]] = [task, self.requested]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            task.cancel()
