"""Lengths and points of time as people type them: `90`, `30m`, `2h`, `1d12h`; `22:30`, `2026-11-24T06:00`."""

from __future__ import annotations

import re
import time

from ipc.errors import EXIT_USAGE, MozartError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: A hundred years: more is a mistake.
_MOST = 100 * 365.25 * 86400
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def seconds_of(option: str, typed: str) -> float:
    """`90` (seconds), `30m`, `1d12h`."""
    plain = re.fullmatch(r"\d+(\.\d+)?", typed)
    if not plain and not re.fullmatch(f"(?:{_PART.pattern})+", typed):
        message = f"cannot understand {option} {typed}: it is no length of time"
        raise MozartError("usage", message, "write it as 90, 30m, 2h or 1d12h", EXIT_USAGE)
    found = float(typed) if plain else sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(typed))
    if found > _MOST:
        message = f"cannot understand {option} {typed}: it is more than a hundred years"
        raise MozartError("usage", message, "write it as 90, 30m, 2h or 1d12h", EXIT_USAGE)
    return found


def moment_of(option: str, typed: str, now: float) -> float:
    """Seconds since the epoch of `22:30` (today or tomorrow), a local date and time, or `+2h`."""
    if typed.startswith("+"):
        return now + seconds_of(option, typed[1:])
    local = time.localtime(now)
    for form in ("%H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"):
        try:
            found = time.strptime(typed, form)
        except ValueError:
            continue
        if form != "%H:%M":
            return time.mktime((*found[:6], 0, 0, -1))
        when = time.mktime((*local[:3], found.tm_hour, found.tm_min, 0, 0, 0, -1))
        return (
            when
            if when > now
            else time.mktime((*local[:2], local.tm_mday + 1, found.tm_hour, found.tm_min, 0, 0, 0, -1))
        )
    message = f"cannot understand {option} {typed}: it is no time"
    raise MozartError("usage", message, "write it as 22:30, 2026-11-24T06:00 or +2h", EXIT_USAGE)
