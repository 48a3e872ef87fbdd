"""Faults made by a library preloaded into the daemon (faulty.c), told by a shared page.

The product knows nothing of it. `Faults` belongs to one daemon. Writes to the database: `at(n, what)` kills who makes the n-th
from now, or lets it fail; `fail(errno)` lets all of them fail. The machine: `no_children`, `slow_syncs`, `set_clock`. Time:
`spread_deaths` makes a supervisor believe that its children live long.
"""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.process.daemon import Daemon

SOURCE = Path(__file__).with_name("faulty.c")
BEFORE, AFTER = -1, -2
#: int32 on the shared page.
WORDS = 12
#: More than a life that the supervisor takes for short.
LONG_LIFE = 20


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

    def at(self, n: int, what: int) -> None:
        """At the n-th call from now, once: BEFORE or AFTER it a death, or an errno. Of whichever process makes it."""
        self._set(what, n, pid=-1, once=1)

    def fail(self, errno: int) -> None:
        """Every call of any process from now on."""
        self._set(errno, 0, pid=-1, once=0)

    def _set(self, what: int, passing: int, pid: int, once: int) -> None:
        # First nothing, then the numbers, then what: each is read alone.
        struct.pack_into("=4i", self._page, 0, 0, passing, pid, 0)
        struct.pack_into("=i", self._page, 32, once)
        struct.pack_into("=i", self._page, 0, what)

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

    def spread_deaths(self, pid: int) -> None:
        """For this process much time passes with every death that is made here, and whenever `age` is called."""
        struct.pack_into("=3i", self._page, 36, pid, LONG_LIFE, 0)

    def age(self) -> None:
        (ahead,) = struct.unpack_from("=i", self._page, 44)
        struct.pack_into("=i", self._page, 44, ahead + LONG_LIFE)

    def end(self) -> None:
        """Everything is well again; only the clocks stay as they are."""
        struct.pack_into("=i", self._page, 0, 0)
        struct.pack_into("=3i", self._page, 16, 0, 0, 0)

    def close(self) -> None:
        os.close(self._clock)
        self._page.close()

    @property
    def has_happened(self) -> bool:
        """What was to happen once."""
        return not struct.unpack_from("=i", self._page)[0]

    @property
    def seen(self) -> int:
        """Calls since the last order."""
        return int(struct.unpack_from("=4i", self._page)[3])
