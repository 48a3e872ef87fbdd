"""One listening socket: lets connections in, one in each turn of the loop, so that a crowd at the door takes no turn of theirs
from those who are inside.

A process that cannot have another descriptor leaves who comes in the backlog, where nothing is lost, and tries again. `Crowd`
says who has to wait. What a connection is for is its protocol's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
from collections.abc import Callable

from ipc.connection import peer_of
from mozartd.coordinator.crowd import Crowd

log = logging.getLogger(__name__)

#: Seconds until the next try when there was no descriptor or memory for a connection.
REST_SECONDS = 0.2
#: Connections that may stand inside and wait for their turn; who comes then is turned away.
MOST_WAITING = 2048
#: After so many that were turned away, who comes waits outside for so many seconds: they come back at once.
MOST_TURNED_AWAY, PAUSE_SECONDS = 16, 0.01
#: Seconds between two looks at who of a full house has gone.
LOOK_SECONDS = 1.0


class Door:
    """`on_trouble` is told why nobody can be let in."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        crowd: Crowd,
        on_trouble: Callable[[str], None],
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        # A copy to close: the socket is the supervisor's and outlives us.
        self._listener = listener.dup()
        self._listener.setblocking(False)
        self._protocol = protocol
        self._crowd = crowd
        self._on_trouble = on_trouble
        self._most_waiting = most_waiting
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._entering: set[asyncio.Task[None]] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._is_short = False
        """There was no descriptor or memory at the last try."""
        self._turned_away = 0
        self._look_at = 0.0
        self._open()

    def __repr__(self) -> str:
        return f"<Door {len(self._waiting)} waiting{', resting' if self._resting else ''}>"

    def close(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
        else:
            self._loop.remove_reader(self._listener.fileno())
        for peer, timer in self._waiting.items():
            timer.cancel()
            peer.close()
        self._listener.close()

    async def entered(self) -> None:
        """After `close`: return when whoever was on the doorstep is inside."""
        if self._entering:
            await asyncio.wait(self._entering)

    def _open(self) -> None:
        self._resting = None
        self._loop.add_reader(self._listener.fileno(), self._let_in)

    def _let_in(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            self._rest(REST_SECONDS)
            self._is_short = True
            self._on_trouble(f"cannot take another connection: {os.strerror(error.errno or 0)}")
            return
        if self._is_short:
            self._is_short = False
            self._on_trouble("")
        wait = self._crowd.came(peer_of(peer).pid)
        if not wait:
            self._enter(peer)
        elif len(self._waiting) < self._most_waiting or self._forget_who_has_gone():
            self._waiting[peer] = self._loop.call_later(wait, self._waited, peer)
        else:
            self._turn_away(peer)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._resting = self._loop.call_later(seconds, self._open)

    def _forget_who_has_gone(self) -> bool:
        """Who waits may hang up, and is not listened to: forget those. Whether there is room now."""
        now = self._loop.time()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_SECONDS
        hung_up, peers = select.poll(), {peer.fileno(): peer for peer in self._waiting}
        for descriptor in peers:
            hung_up.register(descriptor, 0)
        for descriptor, _ in hung_up.poll(0):
            peer = peers[descriptor]
            self._waiting.pop(peer).cancel()
            peer.close()
        return len(self._waiting) < self._most_waiting

    def _turn_away(self, peer: socket.socket) -> None:
        peer.close()
        self._turned_away += 1
        if self._turned_away == MOST_TURNED_AWAY:
            self._turned_away = 0
            self._rest(PAUSE_SECONDS)

    def _waited(self, peer: socket.socket) -> None:
        del self._waiting[peer]
        self._enter(peer)

    def _enter(self, peer: socket.socket) -> None:
        task = self._loop.create_task(self._connect(peer), name="a connection")
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _connect(self, peer: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, peer)
        except OSError as error:
            log.error("cannot take a connection: %s", error)
            peer.close()
