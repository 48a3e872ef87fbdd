"""A regular file that an agent writes instead of a pipe, read while it grows.

Some programs lose what a pipe still holds when they exit; a file loses nothing. `open_spool` makes the file the agent gets
as its stdout, `Spool` follows it: the kernel tells through inotify that it was written, nothing polls. The file is scratch
(what was read is in the attempt's log): its blocks are given back while the agent runs, and it is removed at the end.
Used by `workers.capture`; `workers.pipe` is its other source.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from functools import cache

_IN_MODIFY = 0x2
_IN_OPEN = 0x20
#: fallocate(2): give back the blocks, keep the size (the agent appends, so its offsets never come back here).
_PUNCH_HOLE = 0x1 | 0x2
#: Give back this much at a time.
PUNCH_BYTES = 8 * 1024 * 1024


def open_spool(path: str) -> int:
    """Make the file. The descriptor is for the agent, to be closed here once the agent has it."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


class Spool:
    """`fd` is readable from the first byte that was not read yet; the file has no end before `close`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.fd = _watch(path)
        try:
            # After the watch: this is the first of its news, so that what is in the file already is read as well.
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            os.close(self.fd)
            raise
        self._at = 0
        self._punched = 0

    def read(self, most: int) -> bytes | None:
        """What is there; None when there is nothing now."""
        chunk = os.read(self._file, most) or self._read_after_news(most)
        self._at += len(chunk)
        if self._at - self._punched >= PUNCH_BYTES:
            self._punch()
        return chunk or None

    def _read_after_news(self, most: int) -> bytes:
        # The news are taken only when all was read, so that `fd` stays readable until then; and what was written between
        # that read and this one is not overlooked.
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        return os.read(self._file, most)

    def _punch(self) -> None:
        # A file system that cannot do this costs disk, no more.
        _libc().fallocate(
            self._file, _PUNCH_HOLE, ctypes.c_int64(self._punched), ctypes.c_int64(self._at - self._punched)
        )
        self._punched = self._at

    def left(self) -> int:
        """Bytes that are in the file now and were not read yet."""
        return os.fstat(self._file).st_size - self._at

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def _watch(path: str) -> int:
    """An inotify descriptor. The standard library has no inotify; it takes two calls."""
    fd: int = _libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot watch a file: {os.strerror(number)}", path)
    if _libc().inotify_add_watch(fd, os.fsencode(path), _IN_MODIFY | _IN_OPEN) < 0:
        number = ctypes.get_errno()
        os.close(fd)
        raise OSError(number, f"cannot watch a file: {os.strerror(number)}", path)
    return fd


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
