"""Who asks how much: a share of the coordinator's loop for each process on the other side.

A process that asks one thing after another is always served at once. What it asks beyond that at the same time, its floods of
connections and its huge frames are served, too, but while somebody else is there only as far as its allowance reaches: so
the others' requests meet next to none of it. Alone it may have everything. Knows no socket; `clients` and `door` ask it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

#: Requests of one process under way at once: while others are there, and while it is alone.
FEW, MANY = 2, 8
#: Seconds of the loop's time that a process may use up at once, and what part of each second it gets back.
ALLOWANCE, REFILL = 0.005, 1 / 30
#: A large read is followed by a rest so many times as long: between two of them the others' requests are served.
SPREAD = 10
#: More than this is not held against anybody: who has stopped is served again within half a minute.
DEBT = 1.0
#: Seconds of the loop's time that a connection costs.
CONNECTION = 0.0003
#: And what one counts for that had to be refused while others are there: who makes such again and again loses nothing.
REFUSED = 0.003
#: Seconds after its last request that somebody counts as being there.
PRESENT = 1.0
#: Shares kept although nobody is connected: they are what stops a process that comes again and again.
KEPT = 256

Done = Callable[[], None]
Begin = Callable[[Done], None]
"""Begins what was asked for; calls `Done` when that is over."""


class Guest(Protocol):
    """A connection of a process."""

    def rest(self, seconds: float) -> None: ...


class Share:
    """One process."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._waiting: deque[Begin] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._allowance, self._counted_at = ALLOWANCE, time.monotonic()
        self._under_way = 0
        self._next_read = 0.0
        """When the next large read has its turn."""
        self.sessions: set[Guest] = set()

    def __repr__(self) -> str:
        return (
            f"<Share {self._under_way} under way, {len(self._waiting)} waiting, {self._allowance * 1000:.1f} ms left>"
        )

    def enter(self, session: Guest) -> None:
        self.sessions.add(session)
        if wait := self.wait():
            session.rest(wait)

    def leave(self, session: Guest) -> None:
        self.sessions.discard(session)

    # -- requests

    def ask(self, begin: Begin) -> None:
        """Begin now, or when it is its turn."""
        if self._waiting or self._under_way >= FEW:
            self._waiting.append(begin)
            self._serve()
        else:
            self._begin(begin, dear=False)

    def forget(self, begin: Begin) -> None:
        """Who asked is gone."""
        if begin in self._waiting:
            self._waiting.remove(begin)

    def _begin(self, begin: Begin, dear: bool) -> None:
        self._under_way += 1
        self._crowd.note(self)
        began = time.monotonic()
        is_over = False

        def done() -> None:
            nonlocal is_over
            if is_over:
                return
            is_over = True
            self._under_way -= 1
            if dear:
                self.pay(time.monotonic() - began)
            self._serve()

        begin(done)

    def _serve(self) -> None:
        while self._waiting and self._timer is None:
            alone = self._crowd.is_alone(self)
            if self._under_way >= (MANY if alone else FEW):
                return
            wait = self.wait()
            if wait:
                self._timer = self._crowd.loop.call_later(wait, self._again)
                return
            self._begin(self._waiting.popleft(), dear=not alone)

    def _again(self) -> None:
        self._timer = None
        self._serve()

    # -- the allowance

    def read(self, session: Guest, seconds: float) -> None:
        """A large read from one of its connections took so long."""
        self.pay(seconds)
        if not self._crowd.is_alone(self):
            now = time.monotonic()
            self._next_read = max(self._next_read, now) + seconds * SPREAD
            session.rest(self._next_read - now)

    def refused(self) -> None:
        """What one of its connections sent was no use to anybody."""
        if not self._crowd.is_alone(self):
            self.pay(REFUSED)

    def pay(self, seconds: float) -> None:
        """It has used so much of the loop's time. Who is in debt is not even read from until that is paid."""
        self._count()
        self._allowance = max(-DEBT, self._allowance - seconds)
        if self._allowance < 0 and (wait := self.wait()):
            for session in self.sessions:
                session.rest(wait)

    def wait(self) -> float:
        """Seconds until it may use the loop beyond its due again: while others are there."""
        self._count()
        return 0.0 if self._allowance >= 0 or self._crowd.is_alone(self) else -self._allowance / REFILL

    def _count(self) -> None:
        now = time.monotonic()
        self._allowance = min(ALLOWANCE, self._allowance + (now - self._counted_at) * REFILL)
        self._counted_at = now


class Crowd:
    """All of them, by pid."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._shares: dict[int, Share] = {}
        self._last: Share | None = None
        self._other: Share | None = None
        """The last one that asked, and the last one before that was not the same."""
        self._last_at = self._other_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Crowd of {len(self._shares)}>"

    def share(self, pid: int) -> Share:
        share = self._shares.get(pid)
        if share is None:
            if len(self._shares) >= KEPT:
                self._tidy()
            share = self._shares[pid] = Share(self)
        return share

    def came(self, pid: int) -> float:
        """A connection was made: seconds that it must wait before anybody turns to it."""
        share = self.share(pid)
        share.pay(CONNECTION)
        return share.wait()

    def note(self, share: Share) -> None:
        """It asks something now."""
        if share is not self._last:
            self._other, self._other_at = self._last, self._last_at
            self._last = share
        self._last_at = time.monotonic()

    def is_alone(self, share: Share) -> bool:
        """Nobody else asked anything just now."""
        at = self._other_at if share is self._last else self._last_at
        return time.monotonic() - at > PRESENT

    def _tidy(self) -> None:
        """Forget the oldest of those who are not here."""
        for pid in [pid for pid, share in self._shares.items() if not share.sessions][: KEPT // 2]:
            del self._shares[pid]
