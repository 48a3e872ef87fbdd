"""A line to the daemon that outlives a coordinator: what one of them took with it is asked of the next.

The listening socket is the supervisor's, so connecting waits by itself while a coordinator is being replaced. Every request may
be asked again, because what changes something carries a key: the daemon does it once, and gives the same answer each time.
Used by `cli` and by the commands of `mozartd`. It never prints. When nobody listens the whole daemon is gone: that is said at
once, and who would rather wait for another one asks for it (`find_again`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ipc.client import Client, Disconnected, NotListening, NotTaken, TimedOut
from ipc.errors import EXIT_UNREACHABLE, MozartError

T = TypeVar("T")

#: Requests that carry a key. Of the others, asking again says what is, or does what is still left to do.
KEYED = frozenset({
    "submit", "cancel", "retry", "pause", "resume", "priority", "reorder", "modify", "limits.clear", "hold", "group.set",
})  # fmt: skip

#: Seconds in which a lost request is asked again. A coordinator is back in a fraction of one, or in a few when it has many
#: jobs to read; a whole daemon that systemd restarts, in a few.
PATIENCE = 20.0
#: Between two tries; there is none before the second.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0


class Patience:
    """How long to go on trying, and not too often: a coordinator that hangs up on everybody must not be stormed."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + PATIENCE
        self._pause = 0.0

    def wait(self, error: MozartError) -> None:
        """Return when it is time for the next try; raise the error of the last one when there is none."""
        if time.monotonic() + self._pause > self._deadline:
            raise error
        time.sleep(self._pause)
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)


class Line:
    """`client` is the connection of the moment, for who subscribes: a subscription ends with it."""

    def __init__(self, path: str, seconds: float) -> None:
        """`seconds`: how long to wait for any one answer. Raises MozartError (exit 4), NotListening when there is no daemon."""
        self._path = path
        self._seconds = seconds
        self.client = self._connect(Patience())

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.client.close()

    def request(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """The result of one request, of whichever coordinator. Raises the daemon's error, Disconnected when it stays away."""
        asked = dict(params or {})
        if method in KEYED:
            asked["key"] = os.urandom(16).hex()
        try:
            return self.over(lambda client: client.request(method, asked))
        except Disconnected as error:
            if method in KEYED and not isinstance(error, NotTaken):
                error.hint = "it may have done that: `mozart status` tells, when the daemon is back"
            raise

    def over(self, talk: Callable[[Client], T]) -> T:
        """Talk over the connection, and from the beginning over another one when it is lost meanwhile."""
        patience = Patience()
        while True:
            try:
                return talk(self.client)
            except TimedOut:
                # It is there and does not answer: the next one would be asked as long again.
                raise
            except Disconnected as lost:
                patience.wait(lost)
                self._renew(patience, lost)

    def find_again(self) -> None:
        """Another connection, for who stays. Waits also for a daemon that is started anew."""
        patience = Patience()
        self.client.close()
        while True:
            try:
                self.client = self._connect(patience)
                return
            except MozartError as error:
                if error.exit_code != EXIT_UNREACHABLE:
                    raise
                patience.wait(error)

    def _renew(self, patience: Patience, lost: Disconnected) -> None:
        self.client.close()
        try:
            self.client = self._connect(patience)
        except NotListening:
            raise lost from None

    def _connect(self, patience: Patience) -> Client:
        while True:
            try:
                return Client(self._path, self._seconds)
            except NotTaken as error:
                # Accepted by a coordinator that was going: the next time we wait for its successor.
                patience.wait(error)
