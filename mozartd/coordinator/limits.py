"""Holds: «do not start anything on this scope before t». The one place that can say whether a backend may be used now.

A scope is `backend/account/model`. Holds are written with the turn's next commit and survive restarts. How long is `retry`'s
decision; obeying is `schedule`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mozartd.coordinator.journal import Journal
from mozartd.store.store import Write

#: Two ends of a hold closer than this are the same: a limit is told when it is seen and again when the attempt has ended.
SAME_SECONDS = 1.0


@dataclass(slots=True)
class Hold:
    scope: str
    since: float
    until: float
    reason: str
    evidence: str

    def row(self) -> dict[str, Any]:
        return {
            "scope": self.scope, "since": self.since, "until": self.until, "reason": self.reason, "evidence": self.evidence,
        }  # fmt: skip


class Limits:
    def __init__(self, journal: Journal, holds: list[Hold]) -> None:
        self._journal = journal
        self.holds = {hold.scope: hold for hold in holds}
        self._writes: list[Write] = []

    def hold(self, scope: str, until: float, reason: str, evidence: str, now: float) -> None:
        """Set a hold, or move the one there is: the newest evidence is the best known."""
        known = self.holds.get(scope)
        if known and abs(known.until - until) < SAME_SECONDS:
            return
        hold = Hold(scope, known.since if known else now, until, reason, evidence)
        self.holds[scope] = hold
        self._writes.append(("put_hold", hold.row()))
        self._journal.append(now, "hold.set", scope=scope, until=until, reason=reason, evidence=evidence)

    def end_due(self, now: float) -> None:
        """Drop the holds whose time is over."""
        for scope in [hold.scope for hold in self.holds.values() if hold.until <= now]:
            del self.holds[scope]
            self._writes.append(("drop_hold", {"scope": scope}))
            self._journal.append(now, "hold.ended", scope=scope)

    def untils(self) -> dict[str, float]:
        return {hold.scope: hold.until for hold in self.holds.values()}

    def next_end(self) -> float | None:
        return min((hold.until for hold in self.holds.values()), default=None)

    def take_changes(self) -> list[Write]:
        writes, self._writes = self._writes, []
        return writes
