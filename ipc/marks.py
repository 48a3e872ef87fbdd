"""Which directories Mozart made itself: only those, and of those only what is known, are ever removed by it.

A directory of ours gets its mark when it is made, before anything else is put into it. The mark names the directory it lies
in (its name, its inode) and who made it: a copy, a directory that was renamed, and another daemon's are not taken for ours.
Used by `workers.log` and `mozartd.coordinator`'s `archive` and `shelf`.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from typing import NamedTuple

ARCHIVE, LOGS = ".mozart-archive", ".mozart-logs"
#: Bytes of a mark, at most.
MOST = 4096


class Mark(NamedTuple):
    maker: str
    """The daemon's identity; '' where the place says enough."""
    job: str
    at: float


def make_marked(path: str, mark: str, job: str, maker: str = "", at: float = 0.0, mode: int = 0o777) -> None:
    """A new directory with its mark. Raises FileExistsError when something is there."""
    os.mkdir(path, mode)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        put_mark(fd, os.path.basename(path), mark, job, maker, at)
    finally:
        os.close(fd)


def make_log_directory(path: str) -> None:
    """Of a job, called as the job. One that is there stays as it is."""
    try:
        make_marked(path, LOGS, os.path.basename(path), mode=0o700)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        make_log_directory(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def put_mark(directory: int, name: str, mark: str, job: str, maker: str = "", at: float = 0.0) -> None:
    """Raises FileExistsError when it has one."""
    facts = {"name": name, "inode": os.fstat(directory).st_ino, "job": job, "made_by": maker, "at": at}
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(mark, flags, 0o600, dir_fd=directory), "w") as file:
        json.dump(facts, file)


def read_mark(name: str, mark: str, parent: int) -> Mark | None:
    """Of the directory `name` in `parent`; None when it has none of its own."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            facts = json.loads(_read(mark, fd))
            if facts["inode"] == os.fstat(fd).st_ino and facts["name"] == name:
                return Mark(str(facts["made_by"]), str(facts["job"]), float(facts["at"]))
        finally:
            os.close(fd)
    return None


#: Characters of an identity.
_IDENTITY = 32


def identity(state: str) -> str:
    """What this daemon signs with: drawn once, kept in its state directory. Where that takes nothing it is not kept:
    what is signed meanwhile is never taken for ours, and stays."""
    path = os.path.join(state, "identity")
    with suppress(OSError), open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
        if len(known := file.read(_IDENTITY + 1)) == _IDENTITY:
            return known
    drawn = os.urandom(_IDENTITY // 2).hex()
    with suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            file.write(drawn)
    return drawn


def _read(name: str, directory: int) -> bytes:
    """A small regular file of ours, whatever else may stand in its place."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ValueError(name)
        return os.read(fd, MOST)
    finally:
        os.close(fd)
