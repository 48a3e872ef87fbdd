"""A pseudo-terminal for the stdout of agents that print nothing for long into a pipe (`pty: true`).

Raw, so that their bytes come as they are (no echo, no `\\r` before a newline), and 200 columns wide. It is nobody's controlling
terminal: programs look whether their stdout is one, and that is all. stderr stays a pipe of its own, because what
is said there is evidence. Used by `workers.agent` and `workers.capture`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
import tty

ROWS, COLUMNS = 50, 200
#: Bytes that the kernel holds of a terminal's output, at most; who holds the other end still may write on.
HELD_BYTES = 128 * 1024


def open_terminal() -> tuple[int, int]:
    """Our end, and the agent's."""
    ours, agents = os.openpty()
    tty.setraw(agents)
    fcntl.ioctl(agents, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    return ours, agents


class Terminal:
    """Owns our end; `fd` is readable when there is something to read."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)

    def read(self, most: int) -> bytes | None:
        """What is there; empty at the end, None when there is nothing now."""
        try:
            return os.read(self.fd, most)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EIO:  # how a terminal says that nobody has its other end any more
                return b""
            raise

    def left(self) -> int:
        """More than can be in it: FIONREAD does not count what is still on its way through the kernel, a read does."""
        return HELD_BYTES

    def close(self) -> None:
        os.close(self.fd)
