"""What an agent says that meets a limit and tries again by itself: nobody else should begin meanwhile, and it is left alone.

For programs that tell it in words: the line that says so, among the last that were printed, and the cause beside it. Pure.
Called by the parsers of `command` and of profiles, for what was printed just now.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import NamedTuple

from backends import evidence
from backends.base import Limited
from backends.endings import RETRYING
from backends.resets import find_reset

#: Lines before and behind the one that says so in which the cause may stand, and lines looked at.
BEFORE, BEHIND, LAST_LINES = 4, 2, 12
#: Seconds that a limit holds of which an agent does not say how long it waits.
UNTOLD = 30.0


class Pause(NamedTuple):
    kind: str
    """Of a failure."""
    said: str
    wait: float | None
    """Seconds, as far as it tells them."""
    limit: Limited | None
    """When it waits for one."""


class Patience:
    def __init__(self, words: evidence.LimitWords, clock: Callable[[], float], zone: tzinfo | None) -> None:
        self._words = words.tamed()
        self._clock = clock
        self._zone = zone
        self._told_until = 0.0

    def look(self, printed: str) -> Pause | None:
        """Why it waits now, if that is news."""
        lines = [line.strip()[: evidence.LONGEST_LINE] for line in printed.split("\n") if line.strip()][-LAST_LINES:]
        at = next((i for i in reversed(range(len(lines))) if RETRYING.search(lines[i])), None)
        if at is None:
            return None
        now, line = self._clock(), lines[at]
        found = self._cause(lines, at, now)
        if found is None:
            return None
        kind, said = found
        reset = find_reset(line, now, self._zone)
        wait = None if reset is None else reset.at - now
        return Pause(kind, said, wait, self._limit(kind, said, wait, now))

    def _cause(self, lines: list[str], at: int, now: float) -> tuple[str, str] | None:
        """Of the line itself, else of those around it."""
        for some in (lines[at : at + 1], lines[max(0, at - BEFORE) : at + 1 + BEHIND]):
            text = "\n".join(some)
            kind = evidence.kind_in(text)
            if kind != "other":
                return kind, evidence.line_of(text)
            if found := evidence.judge(text, now, self._words, self._zone):
                return "limit", found.evidence
        return None

    def _limit(self, kind: str, said: str, wait: float | None, now: float) -> Limited | None:
        if kind not in ("limit", "quota", "billing") or now < self._told_until:
            return None
        until = now + (UNTOLD if wait is None else wait)
        self._told_until = until
        named = {"billing": "billing", "quota": "quota"}.get(kind, "requests")
        return Limited(said[:2000], until, kind=named, guess=True, patient=True)
