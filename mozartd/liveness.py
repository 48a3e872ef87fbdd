"""Whether a child still makes progress: it sets the modification time of an unlinked file, the supervisor looks at it.

No message, no lock, nothing to parse, and it works exactly when the child's loop does. The file's time is only
compared with itself, never with a clock, so that neither a clock that jumps nor a machine that sleeps kills a healthy
child.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


def beat_seconds(patience: float) -> float:
    """How often a child should beat: rarely, for each beat wakes it up, but several times before it looks hung."""
    return patience / 6


def new_liveness_file() -> int:
    return os.memfd_create("mozart-liveness", os.MFD_CLOEXEC)


@dataclass(slots=True)
class Pulse:
    """The last beat seen of one child."""

    mtime: int
    changed_at: float
    """When the supervisor last saw it change, on its own monotonic clock."""
    missed: int = 0
    """Looks in a row, after patience ran out, that found no new beat."""
    missed_at: float = 0.0
    """When the last of them was."""

    def look(self, mtime: int, now: float, patience: float) -> None:
        if mtime != self.mtime:
            self.mtime, self.changed_at, self.missed = mtime, now, 0
        elif now >= self.next_look(patience):
            self.missed, self.missed_at = self.missed + 1, now

    def excuse(self, now: float) -> None:
        """It cannot beat, and that is not its fault: as if it had just done so."""
        self.changed_at, self.missed = now, 0

    @property
    def is_stale(self) -> bool:
        """Two looks, not one: after the whole machine stood still, we may look before the child has beaten."""
        return self.missed >= 2

    def next_look(self, patience: float) -> float:
        # After a look, not after its time: between two of them the child must have had the time to beat.
        return self.missed_at + 2 * beat_seconds(patience) if self.missed else self.changed_at + patience


def read_mtime(descriptor: int) -> int:
    return os.fstat(descriptor).st_mtime_ns
