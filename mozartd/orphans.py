"""Processes that agents left behind when their worker died: finding them, and killing exactly them.

The supervisor is a child-subreaper, so what a dead worker had started comes home to it; what got away otherwise still
carries MOZART_STATE and MOZART_ATTEMPT_ID in its environment. `strays` is pure, `Sweeper` acts.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping

from mozartd.processes import COMM_BYTES, Process, all_processes, environment, name_of, send

#: Seconds between two looks.
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 10.0

#: Tells the next image of an upgrade whose parent it is and was not meant to be.
BORN_WITH = "MOZART_BORN_WITH"


def born_with() -> set[int]:
    """Who is a child of this process before it has started anybody: of the shell that it was, or, says the image before us,
    of that of a time long ago. Nothing of ours, nor is what they start."""
    told = os.environ.pop(BORN_WITH, None)
    if told is not None:
        return {int(pid) for pid in told.split(",") if pid.isdigit()}
    return {process.pid for process in all_processes() if process.parent == os.getpid()}


def find_strays(
    state: str,
    children: Collection[int],
    keep: Collection[str] = (),
    supervisor: int | None = None,
    only_marked: bool = False,
) -> list[Process]:
    """What runs for the state directory's attempts, or as a child of the supervisor (ours to ask: of this process), without
    a living child of it above; but for programs whose names are in `keep`. `only_marked`: others may have come home to it,
    too, and are not ours to end."""
    table = {process.pid: process for process in all_processes()}
    marked = {pid for pid in table if _is_attempt(environment(pid), state)}
    found = strays(table, marked, os.getpid() if supervisor is None else supervisor, children)
    kept = {name[:COMM_BYTES] for name in keep}
    ours = [process for process in found if process.pid in marked] if only_marked else found
    return [process for process in ours if not (kept and name_of(process.pid) in kept)]


def _is_attempt(variables: Mapping[bytes, bytes], state: str) -> bool:
    return variables.get(b"MOZART_STATE") == os.fsencode(state) and b"MOZART_ATTEMPT_ID" in variables


def strays(
    table: Mapping[int, Process], marked: Collection[int], supervisor: int, children: Collection[int]
) -> list[Process]:
    """Of the processes in `table`: those marked or descended from `supervisor`, but not through one of `children`.

    The supervisor itself and whatever it descends from are never strays, even when a marked process started the daemon.
    """
    spared = {supervisor, *_ancestors(table, supervisor)}
    found = []
    for pid, process in table.items():
        above = _ancestors(table, pid)
        if pid in spared or pid in children or process.is_zombie or any(parent in children for parent in above):
            continue
        if pid in marked or supervisor in above:
            found.append(process)
    return found


def _ancestors(table: Mapping[int, Process], pid: int) -> list[int]:
    """From the parent upwards; a table read while processes came and went may hold a loop."""
    found: list[int] = []
    process = table.get(pid)
    while process is not None and process.parent not in found and process.parent != pid:
        found.append(process.parent)
        process = table.get(process.parent)
    return found


class Sweeper:
    """Kills strays when asked to, and looks again until there are none: what forks may have forked meanwhile."""

    def __init__(self, state: str) -> None:
        self._state = state
        self.keep: Collection[str] = ()
        """Names of programs that are left running."""
        self.born_with = born_with()
        self._pause = FIRST_PAUSE_SECONDS
        self.due_at: float | None = None

    def ask(self, now: float) -> None:
        self.due_at, self._pause = now, FIRST_PAUSE_SECONDS

    def sweep(self, children: Collection[int], now: float) -> int:
        """How many were killed. `children` and what runs below them is spared."""
        if self.due_at is None or now < self.due_at:
            return 0
        found = find_strays(self._state, {*children, *self.born_with}, self.keep, only_marked=bool(self.born_with))
        # What hangs in the kernel cannot die yet, so the looks become rare.
        self.due_at = now + self._pause if found else None
        self._pause = min(LONGEST_PAUSE_SECONDS, 2 * self._pause)
        return sum(send(process, signal.SIGKILL) for process in found)
