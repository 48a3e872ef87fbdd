"""What somebody removed under a running daemon: its sockets, its lock, its directories. Noticed and put back.

`rm -rf run` takes nothing away from a daemon but the ways to it. The kernel says when a name in one of its directories goes
(dnotify: a signal, which is all that the supervisor waits for), and each look compares what the names lead to with what is
held open. Sockets and lock are made anew; a database that is gone cannot be, and that is said. Called by the supervisor.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress

from ipc.paths import Paths, secure_directory
from mozartd.held import Held
from mozartd.lock import take_lock, write_pid_file
from mozartd.sockets import listen_unix

#: Says that a name in one of the directories is gone.
SIGNAL = signal.SIGIO
#: Seconds from the notice until all is put back: whoever removes a directory is to be done with it.
SETTLE_SECONDS = 0.5


class Places:
    def __init__(self, paths: Paths, held: Held) -> None:
        self._paths, self._held = paths, held
        self._known = {path: _identity(path) for path in (paths.client_socket, paths.worker_socket)}
        self._database: tuple[int, int] | None = None
        self._watched: list[int] = []
        self.due_at: float | None = None
        """When what is missing is put back."""
        self._watch()

    def missing(self) -> list[str]:
        """Names that do not lead to what we hold any more. New sockets need a new coordinator, which would know of no job
        without the database: then they are not missed, and `mozartd stop` reaches us by the lock. What was moved is not
        missing: the next daemon finds all of it where it is."""
        if self.moved_to():
            return []
        held = os.fstat(self._held.lock)
        known = {**({} if self.lost_database() else self._known), self._paths.lock: (held.st_dev, held.st_ino)}
        return [path for path, identity in known.items() if identity is None or _identity(path) != identity]

    def look(self, now: float) -> bool:
        """Whether something is to be put back now."""
        if not self.missing():
            self.due_at = None
        elif self.due_at is None:
            self.due_at = now + SETTLE_SECONDS
        return self.due_at is not None and now >= self.due_at

    def lost_database(self) -> bool:
        """It was there, and is not, or another is in its place: whatever is written goes nowhere."""
        found = _identity(self._paths.database)
        if self._database is None:
            self._database = found
        return found != self._database

    def moved_to(self) -> str:
        """Where our state is now, with its lock and its database, if somebody renamed the directory or one above it."""
        held = os.fstat(self._held.lock)
        if not held.st_nlink or not self.lost_database() or _identity(self._paths.lock) == (held.st_dev, held.st_ino):
            return ""
        with suppress(OSError):
            return os.path.dirname(os.readlink(f"/proc/self/fd/{self._held.lock}"))
        return ""

    def reopen_database(self) -> None:
        """Who held the one that was there open has ended. The next coordinator's is the one that counts."""
        self._database = None

    def put_back(self) -> list[str]:
        """What was missing. Raises OSError or MozartError, and then some of it still is."""
        missing = self.missing()
        for directory in (self._paths.state, self._paths.logs, self._paths.runtime):
            secure_directory(directory)
        if self._paths.lock in missing:
            self._lock_again()
        for path, name in (
            (self._paths.client_socket, "client_listener"),
            (self._paths.worker_socket, "worker_listener"),
        ):
            if path in missing:
                before, after = getattr(self._held, name), listen_unix(path)
                setattr(self._held, name, after)
                before.close()
                self._known[path] = _identity(path)
        if os.path.exists(self._paths.client_socket):
            # Whoever finds one waits for the socket.
            write_pid_file(self._paths)
        self.due_at = None
        self._watch()
        return missing

    def _lock_again(self) -> None:
        # The one before stays locked in children of before; nobody finds that by its name any more.
        lock = take_lock(self._paths.lock)
        if lock is None:
            raise OSError(f"somebody else has locked {self._paths.lock}")
        os.close(self._held.lock)
        self._held.lock = lock

    def _watch(self) -> None:
        for directory in self._watched:
            os.close(directory)
        self._watched.clear()
        for path in (self._paths.runtime, self._paths.state):
            # A kernel without it: then it is noticed at the next look.
            with suppress(OSError):
                directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._watched.append(directory)
                fcntl.fcntl(directory, fcntl.F_NOTIFY, fcntl.DN_DELETE | fcntl.DN_RENAME | fcntl.DN_MULTISHOT)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
