"""Lengths and points of time as people type them: `90`, `30m`, `2h`, `1d12h`; `22:30`, `2026-11-24T06:00`."""

from __future__ import annotations

import re
import time

from ipc.errors import EXIT_USAGE, MozartError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: A hundred years: more is a mistake.
_MOST = 100 * 365.25 * 86400
#: Years that a person can mean.
EARLIEST, LATEST = 1971, 2999
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def is_length(typed: str) -> bool:
    return re.fullmatch(rf"\d+(\.\d+)?|(?:{_PART.pattern})+", typed) is not None


def seconds_of(option: str, typed: str) -> float:
    """`90` (seconds), `30m`, `1d12h`."""
    if not is_length(typed):
        message = f"cannot understand {option} {typed}: not a valid duration"
        raise MozartError("usage", message, "write it as 90, 30m, 2h or 1d12h", EXIT_USAGE)
    found = (
        float(typed)
        if typed[-1].isdigit()
        else sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(typed))
    )
    if found > _MOST:
        message = f"cannot understand {option} {typed}: it is more than a hundred years"
        raise MozartError("usage", message, "write it as 90, 30m, 2h or 1d12h", EXIT_USAGE)
    return found


def moment_of(option: str, typed: str, now: float) -> float:
    """Seconds since the epoch of `22:30` (today or tomorrow), a day, a date and time (local, or with its zone), or `+2h`."""
    if typed.startswith("+"):
        return now + seconds_of(option, typed[1:])
    try:
        return _clock(typed, now) if re.fullmatch(r"\d{1,2}:\d{2}", typed) else _date(typed)
    except (ValueError, OverflowError):
        message = f"cannot understand {option} {typed}: not a valid time"
        hint = "write it as 22:30, 2026-11-24, 2026-11-24T06:00, 2026-11-24T06:00Z or +2h"
        raise MozartError("usage", message, hint, EXIT_USAGE) from None


def _clock(typed: str, now: float) -> float:
    """The next time that the clock shows this."""
    local, found = time.localtime(now), time.strptime(typed, "%H:%M")
    day = (*local[:3], found.tm_hour, found.tm_min, 0, 0, 0, -1)
    when = time.mktime(day)
    return when if when > now else time.mktime((*day[:2], day[2] + 1, *day[3:]))


def _date(typed: str) -> float:
    """A day begins with its first minute; a time without a zone is the reader's."""
    from datetime import datetime

    found = datetime.fromisoformat(typed)
    if not EARLIEST <= found.year <= LATEST:
        raise ValueError
    return found.timestamp()


def understood(moment: float, now: float) -> str:
    """`at 2026-11-24 06:00 CET, in 7h30m`; or that this has passed."""
    local = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(moment))
    away = abs(round(moment - now))
    days, hours, minutes = away // 86400, away // 3600 % 24, away // 60 % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "m")]
    long = "".join(f"{n}{unit}" for n, unit in parts if n)[:12] or f"{away}s"
    return f"at {local}, in {long}" if moment > now else f"at once: {local} was {long} ago"
