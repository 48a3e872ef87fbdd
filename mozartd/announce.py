"""What the supervisor says of itself, and to whom: systemd hears states, commands hear what became of their signals.

A command that asked for something is answered when the coordinator that it leads to is ready, not before. Owns what is
still to be said; what is true is the supervisor's to know.
"""

from __future__ import annotations

from typing import Any

from ipc.errors import MozartError
from ipc.paths import Paths
from mozartd import answers
from mozartd.notify import Notifier


class Announcer:
    def __init__(self, paths: Paths) -> None:
        self.notifier = Notifier()
        self._paths = paths
        self._promised: dict[str, dict[str, Any]] = {}
        """Kind of answer → the answer."""
        self._is_news = True
        self._is_stopping = False

    def promise(self, kind: str, answer: dict[str, Any]) -> None:
        """`ready` says it to whoever waits for this kind."""
        self._promised[kind] = answer
        self._is_news = True

    def ready(self, status: str) -> None:
        """All that is wanted is there. Says so once."""
        if self._is_news:
            self._is_news = False
            self.notifier.ready(status)
            while self._promised:
                answers.tell(self._paths, *self._promised.popitem())

    def lost(self) -> None:
        """The coordinator is gone or being replaced: the next time that all is there is news."""
        self._is_news = True

    def refuse(self, kind: str, error: MozartError, status: str) -> None:
        """What was asked for is not done, and everything goes on."""
        self._promised.pop(kind, None)
        answers.tell(self._paths, kind, answers.error_answer(error))
        if not self._is_stopping:
            self.notifier.ready(f"{status}; {kind} failed: {error.message}")

    def stopping(self, status: str) -> None:
        self._is_stopping = True
        self.notifier.stopping(status)
