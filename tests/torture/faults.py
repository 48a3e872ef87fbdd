"""Faults in the writes to the database: made by a library preloaded into the daemon (faulty.c), told by a shared page.

The product knows nothing of it. `Faults` belongs to one daemon; `kill_at(n)` kills its coordinator at the n-th write point
from now, `fail(errno)` makes all of them fail.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

import pytest

from tests.process.daemon import Daemon

SOURCE = Path(__file__).with_name("faulty.c")
BEFORE, AFTER = -1, -2
FOREVER = 1 << 30


def compiled(directory: Path) -> Path:
    """The library; skips where there is no compiler."""
    library = directory / "faulty.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no C compiler")
    assert done.returncode == 0, done.stderr
    return library


class Faults:
    def __init__(self, daemon: Daemon, file: str = "mozart.db") -> None:
        control = daemon.home / "faulty.control"
        control.write_bytes(bytes(16))
        with open(control, "r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), 16)
        daemon.environment |= {
            "LD_PRELOAD": str(compiled(daemon.home)),
            "FAULTY_CONTROL": str(control),
            "FAULTY_FILE": file,
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

    def end(self) -> None:
        struct.pack_into("=i", self._page, 0, 0)

    @property
    def seen(self) -> int:
        """Calls since the last order."""
        return int(struct.unpack_from("=4i", self._page)[3])
