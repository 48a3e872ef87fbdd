"""The two listening sockets: bound before the first fork, kept open by the supervisor for its whole life.

A client that connects while the coordinator is being replaced waits in the backlog and notices nothing. Refuses to
replace anything but a socket; what it replaces is replaced by rename, so that there is no moment without one.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress

from ipc.errors import EXIT_FAILED, EXIT_USAGE, MozartError
from ipc.paths import check_socket

#: Connections that may wait while the coordinator is busy or being replaced.
BACKLOG = 1024


def listen_unix(path: str) -> socket.socket:
    """A listening socket at `path`, for its owner alone. The caller holds the lock, so one that is already there is dead."""
    try:
        check_socket(path)
    except MozartError as error:
        raise MozartError(error.code, error.message, error.hint, EXIT_USAGE) from None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    name = os.path.basename(path)
    temporary = f".{name}.{os.getpid()}"
    try:
        # Through the descriptor, because the kernel takes 107 bytes and a path may be longer.
        # The socket's own mode is that of its file.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(f"/proc/self/fd/{directory}/{temporary}")
        listener.listen(BACKLOG)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError as error:
        listener.close()
        hint = "set MOZART_HOME to a directory on a local file system"
        raise MozartError("E303", f"cannot listen at {path}: {error.strerror}", hint, EXIT_FAILED) from None
    finally:
        os.close(directory)
    return listener


def share(path: str, mode: int) -> None:
    """Let whom `mode` allows connect to `path`: a group needs its directory too. Raises OSError, also where one is not ours."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.open(os.path.basename(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            _check(directory, stat.S_ISDIR)
            _check(found, stat.S_ISSOCK)
            os.fchmod(directory, 0o750 if mode & 0o060 else 0o700)
            # A socket cannot be opened; this is the one that was looked at, whatever is at its path by now.
            os.chmod(f"/proc/self/fd/{found}", mode)
        finally:
            os.close(found)
    finally:
        os.close(directory)


def _check(descriptor: int, is_kind: Callable[[int], bool]) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or not is_kind(found.st_mode):
        raise PermissionError(errno.EPERM, "it is not ours")


def remove_socket(path: str) -> None:
    """At the very end of the supervisor's life; it holds the lock, so the socket is its own."""
    # One that stays on a disk that takes nothing is replaced at the next start.
    with suppress(OSError):
        os.unlink(path)
