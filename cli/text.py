"""Words for people: durations, times, money, states. Pure; `now` is an argument."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cli import output
from ipc import errors, shown

STATE_COLOURS = {
    "completed": output.GREEN, "running": output.CYAN, "waiting": output.YELLOW, "awaiting": output.YELLOW,
    "paused": output.YELLOW, "failed": output.RED, "blocked": output.RED, "cancelled": output.MAGENTA,
    "skipped": output.DIM, "pending": output.DIM, "queued": output.DIM,
}  # fmt: skip


def state(name: str) -> str:
    return output.paint(name, *filter(None, [STATE_COLOURS.get(name)]))


def seconds_of(when: str | None) -> float | None:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.fromisoformat(when).timestamp() if when else None


def duration(seconds: float) -> str:
    """`0.4s`, `42s`, `3m05s`, `2h13m`, `3d04h`: two units at most."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def ran(job: Mapping[str, Any], now: float) -> str:
    """The time in which something of the job ran, so far."""
    if not job["started_at"]:
        return ""
    # A daemon of an earlier version does not tell.
    since = seconds_of(job.get("ran_since"))
    return duration(job.get("ran_seconds", 0.0) + (now - since if since is not None else 0.0))


def worked(attempts: Iterable[Mapping[str, Any]], now: float) -> str:
    """The time in which these ran, so far."""
    spans = [(seconds_of(each["started_at"]), seconds_of(each["ended_at"])) for each in attempts]
    begun = [(start, now if end is None else end) for start, end in spans if start is not None]
    return duration(sum(max(0.0, end - start) for start, end in begun)) if begun else ""


def until(when: str | None, now: float) -> str:
    """`until 14:05:10 (in 3m05s)`, in the reader's time zone; the date too when it is not today."""
    moment = seconds_of(when)
    if moment is None:
        return ""
    same_day = time.localtime(moment)[:3] == time.localtime(now)[:3]
    clock = time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", time.localtime(moment))
    return f"until {clock} (in {duration(moment - now)})" if moment > now else f"until {clock}"


def age(when: str | None, now: float) -> str:
    moment = seconds_of(when)
    return "" if moment is None else f"{duration(now - moment)} ago"


def money(usd: float | None) -> str:
    return "" if usd is None else f"${usd:.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}"


def size(count: int) -> str:
    """`812 B`, `3.4 KiB`, `64 MiB`, `1.5 GiB`."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):  # the last one stays
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def counts(states: dict[str, int]) -> str:
    """`3 completed, 1 running, 8 pending`."""
    return ", ".join(f"{n} {state(name)}" for name, n in states.items() if n)


def first_line(text: str, limit: int = 120) -> str:
    """The first line of something that may be long."""
    line = shown.cell(text.strip().split("\n", 1)[0])
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def failed_rules(sheet: dict[str, Any]) -> list[str]:
    rules = [rule for rule in sheet.get("validations") or () if not rule["passed"]]
    return [first_line(errors.unmet(rule.get("description") or rule["type"], rule["detail"] or "")) for rule in rules]
