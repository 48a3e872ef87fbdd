"""Faults made by a library preloaded into the daemon (faulty.c), told by a shared page.

The product knows nothing of it. `Faults` belongs to one daemon. Writes to the database: `kill_at(n)` kills its coordinator
at the n-th write point from now, `fail(errno)` makes all of them fail. The machine: `no_children`, `slow_syncs`, `set_clock`.
"""

from __future__ import annotations

import mmap
import os
import random
import struct
import subprocess
import tempfile
from functools import cache, partial
from pathlib import Path

import pytest

from ipc.errors import MozartError
from tests.process.daemon import Daemon, wait_until
from tests.torture import invariants
from tests.torture.load import submission

SOURCE = Path(__file__).with_name("faulty.c")
BEFORE, AFTER = -1, -2
#: Deaths after which the daemon is started anew, before its restarts become slow.
LIFE = 4
#: int32 on the shared page.
WORDS = 8


@cache
def compiled() -> Path:
    """The library, made once; skips where there is no compiler."""
    library = Path(_place().name) / "faulty.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no C compiler")
    assert done.returncode == 0, done.stderr
    return library


@cache
def _place() -> tempfile.TemporaryDirectory[str]:
    """Held here, and removed when this process ends."""
    return tempfile.TemporaryDirectory(prefix="mzf")


class Faults:
    def __init__(self, daemon: Daemon, file: str = "mozart.db") -> None:
        control = daemon.home / "faulty.control"
        control.write_bytes(bytes(4 * WORDS))
        with open(control, "r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), 4 * WORDS)
        clock = daemon.home / "faulty.clock"
        os.mkfifo(clock)
        # Open for both, so that neither side ever waits for the other or meets its end.
        self._clock = os.open(clock, os.O_RDWR)
        daemon.environment |= {
            "LD_PRELOAD": str(compiled()),
            "FAULTY_CONTROL": str(control),
            "FAULTY_FILE": file,
            "FAULTY_CLOCK": str(clock),
        }
        self._daemon = daemon

    def _set(self, what: int, passing: int) -> None:
        pid = self._daemon.pid("coordinator") if what else 0
        # First nothing, then the numbers, then what: each is read alone.
        struct.pack_into("=4i", self._page, 0, 0, passing, pid, 0)
        struct.pack_into("=i", self._page, 0, what)

    def kill_at(self, n: int, when: int) -> None:
        """`when` is BEFORE or AFTER the call."""
        self._set(when, n)

    def fail(self, errno: int, passing: int = 0) -> None:
        self._set(errno, passing)

    # -- the machine

    def no_children(self, pid: int, errno: int) -> None:
        """`pid` can fork and start threads no more; -1: no process can."""
        struct.pack_into("=2i", self._page, 16, pid, errno)

    def slow_syncs(self, seconds: float) -> None:
        """Every fsync takes so much longer."""
        struct.pack_into("=i", self._page, 24, int(seconds * 1000))

    def set_clock(self, ahead: int) -> None:
        """The wall clock of all processes is so many seconds ahead from now on, and who asked for it is told."""
        struct.pack_into("=i", self._page, 28, ahead)
        os.write(self._clock, b"x")

    def end(self) -> None:
        """Everything is well again; only the clock stays as it is."""
        struct.pack_into("=i", self._page, 0, 0)
        struct.pack_into("=3i", self._page, 16, 0, 0, 0)

    def close(self) -> None:
        os.close(self._clock)
        self._page.close()

    @property
    def seen(self) -> int:
        """Calls since the last order."""
        return int(struct.unpack_from("=4i", self._page)[3])


def submit(daemon: Daemon, score: Path) -> str:
    """The job, '' when nobody acknowledged it."""
    try:
        return str(daemon.request("submit", **submission(score))["job"])
    except MozartError:
        return ""


def count_points(daemon: Daemon, faults: Faults, score: Path) -> int:
    """Writes to the database from a submission to its end."""
    faults.kill_at(10**6, BEFORE)
    job = submit(daemon, score)
    assert daemon.wait(job)["state"] == "completed"
    found = faults.seen
    faults.end()
    assert found > 4, "the library is not there"
    return found


def die_at_points(daemon: Daemon, faults: Faults, score: Path, points: int, dice: random.Random) -> int:
    """Submit and run the score over and over; each time the coordinator dies at another write. How many were tried."""
    total = count_points(daemon, faults, score)
    chosen = sorted(dice.sample(range(total), min(points, total)))
    for number, n in enumerate(chosen):
        if number and number % LIFE == 0:
            daemon.kill_everything()
            daemon.start()
        die_at(daemon, faults, score, n, dice.choice((BEFORE, AFTER)))
    return len(chosen)


def die_at(daemon: Daemon, faults: Faults, score: Path, n: int, when: int) -> None:
    before = daemon.pid("coordinator")
    faults.kill_at(n, when)
    job = submit(daemon, score)
    wait_until(partial(_is_dead_or_done, daemon, before, job))
    faults.end()
    wait_until(daemon.is_ready)
    where = f"write point {n}, {'before' if when == BEFORE else 'after'}"
    # A submission whose answer was lost may have been taken: it runs like any other.
    for unfinished in daemon.request("list")["jobs"]:
        assert daemon.wait(unfinished["id"])["state"] == "completed", where
    if job:
        assert daemon.job(job)["job"]["state"] == "completed", where
        assert not invariants.lasting(daemon, job), where


def _is_dead_or_done(daemon: Daemon, before: int, job: str) -> bool:
    try:
        return daemon.pid("coordinator") != before or bool(job and daemon.job(job)["job"]["state"] == "completed")
    except MozartError:
        return False
