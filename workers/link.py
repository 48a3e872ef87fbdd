"""The worker's end of the connection to the coordinator.

Connects, says hello, hands on what comes, and reconnects for ever: the listening socket is the supervisor's, so a
connection made while the coordinator is being restarted simply waits. `finished` frames are kept until their `ack` and
sent again after every hello. Losing the coordinator is no reason to disturb an agent. Called by `main`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from ipc.client import connect_unix
from ipc.connection import Connection, hello_problem
from ipc.frames import Frame, FrameError, encode_frame
from ipc.messages import Finished
from workers.report import salvage

log = logging.getLogger("mozart.worker")

#: Seconds before connecting again: doubled from the first to the last.
FIRST_WAIT, LAST_WAIT = 0.05, 5.0


class Link:
    """`hello` makes our first frame anew for each connection; `on_frame` gets everything after the coordinator's."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, path: str, hello: Callable[[], Frame], on_frame: Callable[[Frame], None]
    ) -> None:
        self._loop, self._path, self._hello, self._on_frame = loop, path, hello, on_frame
        self._connection: Connection | None = None
        self._greeted = False
        self._wait = FIRST_WAIT
        self._unacknowledged: dict[str, bytes] = {}
        """Attempt → its encoded report."""
        self._all_acknowledged: asyncio.Event = asyncio.Event()
        self._all_acknowledged.set()
        self._closed = False
        self._connecting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "greeted" if self._greeted else "connected" if self._connection else "away"
        return f"<Link {state}, {len(self._unacknowledged)} unacknowledged>"

    @property
    def unacknowledged(self) -> list[str]:
        return list(self._unacknowledged)

    def open(self) -> None:
        self._connecting = self._loop.create_task(self._connect())

    def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.close()

    def send(self, frame: Any) -> None:
        """Tell the coordinator, if it is there: a hello or a `finished` makes up for what it misses."""
        if self._connection is not None:
            self._connection.send(frame)

    def report(self, report: Finished) -> None:
        """Tell it, and go on telling it until it has acknowledged."""
        name = report["attempt"]
        try:
            data = encode_frame(cast("Frame", report))
        except (FrameError, TypeError) as error:
            log.warning("cannot report all of attempt %s: %s", name, error)
            data = encode_frame(salvage(report))
        self._unacknowledged[name] = data
        self._all_acknowledged.clear()
        if self._connection is not None:
            self._connection.send_bytes(data)

    def acknowledge(self, attempt: str) -> None:
        self._unacknowledged.pop(attempt, None)
        if not self._unacknowledged:
            self._all_acknowledged.set()

    def remind(self, attempt: str) -> bool:
        """Report this attempt again when it has ended and that is not yet acknowledged."""
        data = self._unacknowledged.get(attempt)
        if data is not None and self._connection is not None:
            self._connection.send_bytes(data)
        return data is not None

    async def acknowledged(self, seconds: float) -> bool:
        """Wait until every report is acknowledged, or the time is up."""
        try:
            await asyncio.wait_for(self._all_acknowledged.wait(), seconds)
        except TimeoutError:
            # Who was stopped for longer has not read yet what came meanwhile.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return self._all_acknowledged.is_set()

    async def _connect(self) -> None:
        while True:
            try:
                # Non-blocking: it succeeds at once, or the backlog is full and it fails.
                peer = connect_unix(self._path, timeout=0.0)
            except OSError as error:
                log.debug("cannot reach the coordinator: %s", error)
                await asyncio.sleep(self._wait)
                self._wait = min(2 * self._wait, LAST_WAIT)
            else:
                await self._loop.create_connection(
                    lambda: Connection(self._on_any, self._on_lost, self._on_made), sock=peer
                )
                return

    def _on_made(self, connection: Connection) -> None:
        self._connection, self._greeted = connection, False
        # Named in the hello, so that the coordinator does not take an attempt for lost whose report comes next.
        connection.send({**self._hello(), "unacknowledged": list(self._unacknowledged)})
        for data in self._unacknowledged.values():
            connection.send_bytes(data)

    def _on_any(self, connection: Connection, frame: Frame) -> None:
        if self._greeted:
            self._on_frame(frame)
            return
        problem = hello_problem(frame, "coordinator")
        if problem:
            log.error("%s", problem)
            connection.abort()
            return
        self._greeted = True
        self._wait = FIRST_WAIT

    def _on_lost(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
        if not self._closed:
            log.info("lost the coordinator; agents go on")
            self._connecting = self._loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        # A coordinator that accepts and hangs up at once is not hammered; a restarted one is reached in milliseconds.
        await asyncio.sleep(self._wait)
        self._wait = min(2 * self._wait, LAST_WAIT)
        await self._connect()
