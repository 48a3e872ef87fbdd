"""The one way to open a file that somebody else may have made, and may be changing at this moment.

First the file is only held (O_PATH): nothing waits for a pipe's writer, and no device is told anything. Then the descriptor
says what it is and where it is, and only a regular file in its place is opened, through that descriptor. So what was checked
is what is read, whatever became of the name meanwhile. How much is read is bounded by whoever asks. A convention test finds
every other `open` in workers, ipc.score and mozartd.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator


class NotRegularError(Exception):
    """What it is instead, or that it is too large: `it is a directory`."""


class OutsideError(Exception):
    """Where it really is."""


def open_regular(path: str, beneath: str | None = None) -> int:
    """A descriptor for reading. Raises NotRegularError, OSError, and OutsideError when it is not below `beneath`."""
    with hold(path) as held:
        if beneath is not None:
            require_beneath(held, beneath)
        return reopen(held)


def read_regular(path: str, most: int, beneath: str | None = None) -> bytes:
    """The whole file. Raises NotRegularError when it has more than `most` bytes, too; else as `open_regular`."""
    descriptor = open_regular(path, beneath)
    with open(descriptor, "rb") as file:
        data = file.read(most + 1) if os.fstat(descriptor).st_size <= most else None
    if data is None or len(data) > most:
        raise NotRegularError(f"it is larger than {most >> 20} MiB")
    return data


@contextlib.contextmanager
def hold(path: str) -> Iterator[int]:
    """What the name leads to at this moment, whatever it is: only held, not opened."""
    held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield held
    finally:
        os.close(held)


def reopen(held: int) -> int:
    """Open what is held for reading, if it is a regular file."""
    mode = os.fstat(held).st_mode
    if not stat.S_ISREG(mode):
        raise NotRegularError(kind_of(mode))
    return os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)


def require_beneath(held: int, directory: str) -> None:
    base = os.path.realpath(directory).rstrip("/")
    place = place_of(held)
    if not place.startswith(base + "/"):
        raise OutsideError(place)


def place_of(held: int) -> str:
    """Where what is held is by now: the kernel's word."""
    return os.readlink(f"/proc/self/fd/{held}")


def kind_of(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
    )  # fmt: skip
    return f"it is {next((words for test, words in kinds if test(mode)), 'not a file')}"
