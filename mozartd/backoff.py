"""How long to wait before a dead child is started again, and when to stop trying. Pure.

A child that had lived for a while, and the first of a series, is replaced at once: clients wait in the backlog and
must not wait for long. Quick deaths in a row double the pause. A child that says that it cannot boot is tried again
only if it, or the daemon as a whole, has ever worked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ipc.setup import EXIT_CANNOT_BOOT

#: A life shorter than this counts as a quick death.
SHORT_LIFE_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 15.0
#: Quick deaths, or refusals to boot, before the daemon gives up.
TOLERATED_BEFORE_READY = 3
TOLERATED_REFUSALS = 3


@dataclass(frozen=True, slots=True)
class Tally:
    """What is remembered of one child's earlier lives."""

    deaths: int = 0
    quick: int = 0
    """Quick deaths in a row."""
    refusals: int = 0
    """Times in a row that it said it cannot boot."""
    not_before: float = 0.0
    """When it may be started again."""


def pause(quick: int) -> float:
    """Seconds to wait after so many quick deaths in a row."""
    if quick <= 1:
        return 0.0
    return float(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(quick - 2, 16)))


def after_death(tally: Tally, lived: float, exit_code: int, now: float) -> Tally:
    quick = tally.quick + 1 if lived < SHORT_LIFE_SECONDS else 1
    refusals = tally.refusals + 1 if exit_code == EXIT_CANNOT_BOOT else 0
    return replace(tally, deaths=tally.deaths + 1, quick=quick, refusals=refusals, not_before=now + pause(quick))


def is_hopeless(tally: Tally, *, was_ready: bool) -> bool:
    """Whether starting it again would only fail again. `was_ready`: this daemon has served somebody."""
    if was_ready:
        return tally.refusals >= TOLERATED_REFUSALS
    return tally.refusals >= 1 or tally.quick >= TOLERATED_BEFORE_READY
