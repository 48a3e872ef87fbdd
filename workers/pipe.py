"""The pipe an agent writes to, read without ever waiting. Used by `workers.capture`; `workers.spool` is its other source."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios

#: As wide as a pipe gets without privileges: agents that exit with a full pipe lose their last lines.
PIPE_BYTES = 1024 * 1024


class Pipe:
    """Owns the descriptor; `fd` is readable when there is something to read."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)
        with contextlib.suppress(OSError):
            # Refused when this user's pipes hold too much of the kernel's memory already; then it stays a smaller pipe.
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def read(self, most: int) -> bytes | None:
        """What is there; empty at the end, None when there is nothing now."""
        try:
            return os.read(self.fd, most)
        except BlockingIOError:
            return None

    def left(self) -> int:
        """Bytes that are in the pipe now."""
        count: int = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))[0]
        return count

    def close(self) -> None:
        os.close(self.fd)
