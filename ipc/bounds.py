"""What peers may make us keep, over all connections of a process: halves of frames, and answers that they do not take.

Bounded in bytes, and a half frame in time, too. When it becomes too much, who has kept us waiting longest pays with its
connection; who sends and reads as a program does is never that one. Knows of connections only how to refuse and abort them.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ipc.awake import GAP_SECONDS

#: Bytes of half frames over all connections, and of each that do not count: what everybody may begin at any time.
MOST_HALVES, FREE = 64 * 1024 * 1024, 64 * 1024
#: Seconds from the first byte of a frame to its last.
HALF_SECONDS = 30.0
#: Bytes that wait for readers who are behind, over all connections.
MOST_UNSENT = 128 * 1024 * 1024


class Bounded(Protocol):
    """A connection."""

    @property
    def unsent(self) -> int: ...
    def refuse(self, sentence: str) -> None: ...
    def abort(self) -> None: ...


class PeerBounds:
    def __init__(self, half_seconds: float = HALF_SECONDS) -> None:
        self._half_seconds = half_seconds
        self._halves: dict[Bounded, tuple[float, int]] = {}
        """(when it began, bytes that count), the oldest first."""
        self._bytes = 0
        self._behind: dict[Bounded, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def __repr__(self) -> str:
        return f"<PeerBounds {len(self._halves)} half frames, {self._bytes} bytes, {len(self._behind)} behind>"

    def half(self, connection: Bounded, size: int) -> None:
        """It has sent so much of a frame by now."""
        began, counted = self._halves.get(connection, (asyncio.get_running_loop().time(), 0))
        counts = max(0, size - FREE)
        self._halves[connection] = (began, counts)
        self._bytes += counts - counted
        while self._bytes > MOST_HALVES:
            oldest = next(each for each, (_, counted) in self._halves.items() if counted)
            self._refuse(oldest, "too many others have begun one, too")
        if self._timer is None:
            self._arm()

    def whole(self, connection: Bounded) -> None:
        """Nothing is missing any more."""
        if self._halves:
            self._bytes -= self._halves.pop(connection, (0.0, 0))[1]

    def behind(self, connection: Bounded) -> None:
        """It reads more slowly than we send."""
        self._behind[connection] = None
        while len(self._behind) > 1 and sum(each.unsent for each in self._behind) > MOST_UNSENT:
            oldest = next(iter(self._behind))
            del self._behind[oldest]
            oldest.abort()

    def caught_up(self, connection: Bounded) -> None:
        self._behind.pop(connection, None)

    def lost(self, connection: Bounded) -> None:
        self.whole(connection)
        self.caught_up(connection)

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        began, _ = next(iter(self._halves.values()))
        self._due = began + self._half_seconds
        self._timer = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        if now - self._due > GAP_SECONDS:
            # We were stopped, and the rest may be there to be read.
            self._halves = {each: (now, counted) for each, (_, counted) in self._halves.items()}
        while self._halves and next(iter(self._halves.values()))[0] + self._half_seconds <= now:
            self._refuse(next(iter(self._halves)), f"its beginning came {self._half_seconds:g} s ago")
        if self._halves:
            self._arm()

    def _refuse(self, connection: Bounded, why: str) -> None:
        self.whole(connection)
        connection.refuse(f"cannot wait for the rest of a frame: {why}")
