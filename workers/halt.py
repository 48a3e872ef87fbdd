"""One attempt's request to stop, from outside: a cancel or a daemon that stops. The first reason stays.

Whatever the attempt waits for, it waits for this as well. Set by `main`, watched by `agent`, `commands` and `validate`.
"""

from __future__ import annotations

import asyncio

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
