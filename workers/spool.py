"""A regular file that an agent writes instead of a pipe, read while it grows.

Some programs lose what a pipe still holds when they exit; a file loses nothing. `open_spool` makes the file the agent
gets as its stdout, `Spool` follows it: the kernel tells through inotify that it was written, nothing polls. The file is
scratch: what was read is in the attempt's log, so it is removed when the spool is closed. Used by `workers.capture`
alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from functools import cache

_IN_MODIFY = 0x2


def open_spool(path: str) -> int:
    """Make the file; the descriptor is for the agent (and is to be closed once the agent has it)."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


class Spool:
    """`fd` becomes readable when the file was written; then `acknowledge()`, and `read()` until it gives nothing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = _watch(path)
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self.fd)
            raise

    def acknowledge(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def read(self, most: int) -> bytes:
        return os.read(self._file, most)

    def left(self) -> int:
        """How much of what is there now was not read yet."""
        return os.fstat(self._file).st_size - os.lseek(self._file, 0, os.SEEK_CUR)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def _watch(path: str) -> int:
    """An inotify descriptor that says when the file is written. The standard library has no inotify; two calls are all
    it takes."""
    libc = _libc()
    fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"cannot watch {path}: inotify_init1 failed")
    if libc.inotify_add_watch(fd, os.fsencode(path), _IN_MODIFY) < 0:
        number = ctypes.get_errno()
        os.close(fd)
        raise OSError(number, os.strerror(number), path)
    return fd


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
