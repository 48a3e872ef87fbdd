"""Does the machine have room? Memory, load and processes lower what may start, in steps; nothing running is touched.

`step` is pure: a reading and the level before give the level now. Levels halve `max_concurrent_sheets`; they rise at once and
fall one by one, after calm. Read only when there is something to start, and again after RECHECK seconds while it is lowered.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

#: Seconds between two readings, at least; and until the next one while less may start.
FRESH, RECHECK = 1.0, 3.0
#: Levels: at the highest one a sixteenth of `max_concurrent_sheets` runs, but one sheet at least.
HIGHEST = 4
#: A level is left only when a reading is this far below what entered it.
CALM = 0.8


@dataclass(frozen=True, slots=True)
class Reading:
    """`memory_stall`: percent of the last ten seconds in which something waited for memory (None: the kernel does not
    tell); `memory_used`, `processes`: fractions of what there is; `load`: per core."""

    memory_stall: float | None
    memory_used: float
    load: float
    processes: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """Above any of these a level is entered."""

    memory_stall: float = 20.0
    memory_used: float = 0.95
    load: float = 24.0
    processes: float = 0.9


class Admission:
    """The level now, and why."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._read_at = float("-inf")
        self.level = 0
        self.reason = ""

    def look(self, now: float) -> bool:
        """Read the machine, unless that was done just now. True when the level changed."""
        if 0 <= now - self._read_at < FRESH:
            return False
        before, self._read_at = self.level, now
        # Without a descriptor to look with, everything stays as it was seen last: the turn must go on.
        with suppress(OSError):
            self.level, self.reason = step(before, read(), self._bounds)
        return self.level != before

    def cap(self, most: int) -> int:
        """How many sheets may run, of `most`."""
        return max(1, most >> self.level)

    def next_time(self) -> float | None:
        """When to look again."""
        return self._read_at + RECHECK if self.level else None


def step(level: int, reading: Reading, bounds: Bounds) -> tuple[int, str]:
    """(level, reason)."""
    reasons = _over(reading, bounds, 1.0)
    if reasons:
        return min(level + 1, HIGHEST), reasons[0]
    still = _over(reading, bounds, CALM)
    if level and still:
        return level, still[0]
    return max(0, level - 1), "the machine is getting room again" if level > 1 else ""


def _over(reading: Reading, bounds: Bounds, factor: float) -> list[str]:
    stall = reading.memory_stall
    facts = [
        (stall is not None and stall > bounds.memory_stall * factor, f"memory is short: stalled {stall} % of the time"),
        (reading.memory_used > bounds.memory_used * factor, f"memory is short: {reading.memory_used:.0%} used"),
        (reading.load > bounds.load * factor, f"the machine is busy: load {reading.load:.1f} per core"),
        (reading.processes > bounds.processes * factor, f"processes are short: {reading.processes:.0%} used"),
    ]
    return [reason for over, reason in facts if over]


def read() -> Reading:
    """What the kernel says now."""
    total, available = _memory()
    return Reading(
        _memory_stall(), 1.0 - available / total, os.getloadavg()[0] / (os.cpu_count() or 1), _processes()
    )  # fmt: skip


def _memory_stall() -> float | None:
    try:
        with open("/proc/pressure/memory") as file:
            return float(file.readline().split("avg10=")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return None


def _memory() -> tuple[int, int]:
    with open("/proc/meminfo") as file:
        facts = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return facts["MemTotal"], facts.get("MemAvailable", facts["MemFree"])


def _processes() -> float:
    with open("/proc/loadavg") as file:
        count = int(file.readline().split()[3].split("/")[1])
    with open("/proc/sys/kernel/threads-max") as file:
        return count / int(file.readline())
