"""Writing to who called us: bytes to stdout, a sentence to stderr; used by `cli` and by the commands of `mozartd`.

What cannot be written is one exception each: nobody reads any more, or nobody can (a full disk, a descriptor that the caller
had closed). `entry` opens 0, 1 and 2 before anything else is opened, so that neither number is ever another file's.
"""

from __future__ import annotations

import errno
import os
import select
from typing import TYPE_CHECKING

from ipc.errors import EXIT_OUTPUT, MozartError

if TYPE_CHECKING:
    from collections.abc import Callable

STDOUT_FD = 1


class PipeClosed(Exception):  # noqa: N818 - the reader's choice, not a mistake
    """Whoever read our stdout has read enough."""


class OutputError(MozartError):
    """Nothing can be written to stdout, so what a command found, or did, could not be said."""

    def __init__(self, error: OSError) -> None:
        why = "it is closed" if error.errno == errno.EBADF else os.strerror(error.errno or 0)
        super().__init__("output", f"cannot write to standard output: {why}", "", EXIT_OUTPUT)


def write(data: bytes | memoryview) -> None:
    """All of `data` to stdout, now. Blocks while the reader is slow."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(STDOUT_FD, rest) :]
        except BlockingIOError:
            # Somebody who shares our terminal made it non-blocking.
            select.select([], [STDOUT_FD], [])
        except BrokenPipeError:
            raise PipeClosed from None
        except OSError as error:
            raise OutputError(error) from None


def tell(data: bytes) -> None:
    """For the person, on stderr; lost quietly when nobody can see it."""
    try:
        os.write(2, data)
    except OSError:
        return


def written(print_all: Callable[[], int]) -> int:
    """What `print_all` returned; what it printed by way of `sys.stdout` (a library's help) is written as the rest is."""
    from contextlib import redirect_stdout
    from io import StringIO

    printed = StringIO()
    try:
        with redirect_stdout(printed):
            return print_all()
    finally:
        write(printed.getvalue().encode(errors="replace"))
