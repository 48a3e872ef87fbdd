"""What is wrong although the daemon goes on: a disk that takes nothing, a machine without processes or descriptors, a database
or logs that somebody has damaged.

Each trouble has a source, which begins and ends it; one whose end nobody would tell ends by itself some time after it was last
seen. Shown by `daemon.status` and a metric, and handed to the supervisor for systemd. Decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ipc.errors import MozartError
from ipc.messages import Finished
from mozartd.coordinator.retry import is_machines_fault

#: Seconds after which a trouble that was not seen again is believed to be over.
FADES = 30.0


class Troubles:
    """`tell` is called with what is wrong, or '', whenever that changes. `others` is what the supervisor has to say."""

    def __init__(self, tell: Callable[[str], None], others: Callable[[], str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._others = others
        self._known: dict[str, str] = {}
        self._fading: dict[str, asyncio.TimerHandle] = {}

    def __repr__(self) -> str:
        return f"<Troubles {self.reason or 'none'}>"

    @property
    def reason(self) -> str:
        """Everything that is wrong now, or ''."""
        return "; ".join(filter(None, [*self._known.values(), self._others()]))

    def set(self, source: str, sentence: str) -> None:
        """As long as this source says so; '' ends it."""
        if timer := self._fading.pop(source, None):
            timer.cancel()
        if self._known.get(source, "") == sentence:
            return
        if sentence:
            self._known[source] = sentence
        else:
            del self._known[source]
        self._tell("; ".join(self._known.values()))

    def see(self, source: str, sentence: str) -> None:
        """Seen just now; nobody may ever say that it is over."""
        self.set(source, sentence)
        self._fading[source] = self._loop.call_later(FADES, self.set, source, "")

    def see_or_end(self, source: str, sentence: str) -> None:
        if sentence:
            self.see(source, sentence)
        else:
            self.set(source, "")

    def damaged_row(self, database: str, error: ValueError) -> MozartError:
        """A row of the database is not what was written. Who asked for it is told the same."""
        found = damage(database, error)
        self.set("database", found.message)
        return found

    def learn(self, report: Finished) -> None:
        """From how an attempt ended: whether workers can start and store anything."""
        if is_machines_fault(report):
            self.see("attempts", report["message"])
        elif report["verdict"] not in ("cancelled", "interrupted"):
            self.set("attempts", "")


def damage(database: str, error: ValueError) -> MozartError:
    message = f"cannot use the database {database}: a row of it is damaged: {error}"
    return MozartError("E401", message, "restore it from a backup, or move it away to start with an empty one")
