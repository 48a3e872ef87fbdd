"""Whether the coordinator answers: asked once per coordinator, by a short-lived child of the supervisor's.

Alive is the pid, progressing the liveness file, ready is a hello at the clients' own socket. The supervisor itself
never waits for anybody, so it forks a probe that does, and hears of its end as it hears of every child's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from ipc.client import Client
from ipc.errors import MozartError

#: How long a probe waits for its hello, and how long after a failed one the next is sent.
PATIENCE_SECONDS = 60.0
AGAIN_SECONDS = 1.0


class Readiness:
    def __init__(self, fork: Callable[[Callable[[], int]], int], socket: str) -> None:
        self._fork = fork
        self._socket = socket
        self._not_before = 0.0
        self.pid: int | None = None
        """Of the probe under way."""
        self.is_ready = False
        self.was_ready = False
        """It has been, at least once."""

    def lost(self) -> None:
        """The coordinator died or is being replaced."""
        self.is_ready = False

    def due_at(self) -> float | None:
        """When the next probe is due; None when none is."""
        return None if self.is_ready or self.pid is not None else self._not_before

    def probe(self, now: float) -> None:
        due = self.due_at()
        if due is None or now < due:
            return
        try:
            self.pid = self._fork(self._ask)
        except OSError:
            self._not_before = now + AGAIN_SECONDS

    def reaped(self, status: int, now: float) -> bool:
        """The probe has ended; whether the coordinator has become ready."""
        self.pid = None
        self.is_ready = os.waitstatus_to_exitcode(status) == 0
        self.was_ready = self.was_ready or self.is_ready
        self._not_before = now + AGAIN_SECONDS
        return self.is_ready

    def _ask(self) -> int:
        with suppress(MozartError), Client(self._socket, PATIENCE_SECONDS):
            return 0
        return 1
