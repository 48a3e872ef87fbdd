"""One daemon per state directory: the lock, and the file that says who holds it.

The supervisor takes the lock before it does anything else and its children inherit it, so that it stays taken until
the last of them is gone: no second coordinator ever opens the database while a first one lives. The pid file is a
hint that is never believed alone: `find_supervisor` also wants the start time to match, and the kernel's word that this
process took the lock. Nobody is signalled because of what a file says, or because it has the lock file open.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass

from ipc.errors import MozartError
from ipc.paths import Paths
from ipc.trust import distrust, open_own, open_regular
from mozartd import bereft
from mozartd.processes import Process, all_processes, read_process, send, wait_ended

#: How long a starting daemon waits for one that is stopping, and for the children of one that was killed.
STOPPING_SECONDS = 60.0
LEFTOVER_SECONDS = 10.0
#: Characters of a line of a pid file, at most.
LINE = 65536


@dataclass(frozen=True, slots=True)
class Running:
    """A living supervisor."""

    process: Process
    config: str
    """The settings file it was started with."""
    is_stopping: bool


def take_lock(path: str) -> int | None:
    """The descriptor that holds the lock, or None when somebody else does. Released when its last copy is closed. Raises
    MozartError E403 when the disk does not let us have one."""
    try:
        lock = open_own(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        hint = "make its disk writable" if error.errno == errno.EROFS else "check that it is writable and not a link"
        raise MozartError("E403", f"cannot open {path}: {error.strerror}", hint) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError as error:
        os.close(lock)
        hint = "its file system has no locks: set MOZART_HOME to a directory on a local one"
        raise MozartError("E403", f"cannot lock {path}: {error.strerror}", hint) from None
    return lock


def take_over(paths: Paths, leftover_seconds: float = LEFTOVER_SECONDS) -> int | Running:
    """The lock, once what a dead or stopping supervisor left is gone; or the supervisor that has it and keeps it."""
    unseen = 0
    if (bereft_one := _bereft(paths)) is not None:
        return bereft_one
    while (lock := take_lock(paths.lock)) is None:
        running = find_supervisor(paths)
        if running is not None and not running.is_stopping:
            return running
        holders = lock_holders(paths.lock)
        unseen = 0 if holders else unseen + 1
        if unseen > 10:
            hint = "another container or machine may use this state directory: give each its own MOZART_HOME"
            raise MozartError(
                "E401", f"cannot lock {paths.lock}: another process that is not visible here holds it", hint
            )
        if not wait_ended(holders, STOPPING_SECONDS if running else leftover_seconds):
            _end(holders, paths)
    return lock


def _end(holders: list[Process], paths: Paths) -> None:
    """Children of a dead supervisor that did not notice its death; but never a supervisor."""
    running = find_supervisor(paths)
    if running is None:
        kill_and_wait(holders)
    elif running.is_stopping:
        hint = "wait for it, or end it with `mozartd stop --force`"
        raise MozartError(
            "E401", f"cannot start: the previous daemon (pid {running.process.pid}) is still stopping", hint
        )


def kill_and_wait(processes: list[Process]) -> None:
    for process in processes:
        send(process, signal.SIGKILL)
    wait_ended(processes, None)


def lock_holders(path: str) -> list[Process]:
    """Everybody who holds the lock, as the kernel says: the supervisor and its children, or what is left of them. Who only
    reads the file, as a backup does, is none of them."""
    wanted = _look_at_lock(path)
    if wanted is None:
        return bereft.holders(path)
    return [process for process in all_processes() if process.pid != os.getpid() and _lockers(process.pid, wanted)]


def is_agent_of(paths: Paths) -> bool:
    """Whether this process descends from a worker of that daemon: from one who holds its lock and did not take it."""
    wanted = _look_at_lock(paths.lock)
    above = read_process(os.getppid())
    while wanted is not None and above is not None:
        lockers = _lockers(above.pid, wanted)
        if lockers and above.pid not in lockers:
            return True
        above = read_process(above.parent) if above.parent else None
    return False


def _look_at_lock(path: str) -> os.stat_result | None:
    """None when there is none. Raises MozartError E403 when it is not what a daemon makes."""
    try:
        found = _stat(path)
        if found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
            raise PermissionError(errno.EPERM, f"it belongs to uid {found.st_uid}, not to uid {os.geteuid()}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        hint = "remove it when no daemon runs, or set MOZART_HOME to a directory of your own"
        raise MozartError("E403", f"cannot open {path}: {error.strerror}", hint) from None
    return found


def _stat(path: str) -> os.stat_result:
    opened = open_regular(path)
    try:
        return os.fstat(opened)
    finally:
        os.close(opened)


def _lockers(pid: int, wanted: os.stat_result) -> set[int]:
    """Who took the lock that process `pid` holds, as the kernel shows it; empty when it holds none. Children inherit it, and it
    may have been passed to somebody who knows nothing of it: that one did not take it, and is another user's."""
    if _owner(pid) not in (wanted.st_uid, os.geteuid()):
        return set()
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return set()
    ours = [one for one in descriptors if _is_file(f"/proc/{pid}/fd/{one}", wanted)]
    if ours and not _shows_locks():
        return {pid}
    return {locker for one in ours for locker in _took(f"/proc/{pid}/fdinfo/{one}")}


def _is_file(descriptor: str, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(descriptor), wanted)
    except OSError:
        return False


def _owner(pid: int) -> int:
    """Who runs it; -1 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next(int(line.split()[2]) for line in file if line.startswith(b"Uid:"))
    except (OSError, StopIteration):
        return -1


def _took(fdinfo: str) -> set[int]:
    """The pids of `lock: 1: FLOCK  ADVISORY  WRITE 4711 …`."""
    try:
        with open(fdinfo, "rb") as file:
            return {int(line.split()[5]) for line in file if line.startswith(b"lock:") and b" FLOCK " in line}
    except (OSError, IndexError, ValueError):
        return set()


@functools.cache
def _shows_locks() -> bool:
    """Whether this kernel says in /proc who holds a lock; gVisor's does not. There an open lock file must do."""
    own = os.memfd_create("mozart-lock", os.MFD_CLOEXEC)
    try:
        fcntl.flock(own, fcntl.LOCK_EX)
        return bool(_took(f"/proc/self/fdinfo/{own}"))
    finally:
        os.close(own)


def write_pid_file(paths: Paths, *, is_stopping: bool = False) -> None:
    """First line the pid, as everybody's pid files; second what `find_supervisor` needs to believe it."""
    me = read_process(os.getpid())
    assert me is not None
    more = json.dumps({"started": me.started, "config": paths.config, "stopping": is_stopping})
    temporary = f"{paths.pid_file}.{me.pid}"
    # Whatever the umask: nobody else has a word in it.
    private = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(private, "w", encoding="utf-8") as file:
        file.write(f"{me.pid}\n{more}\n")
    os.rename(temporary, paths.pid_file)


def remove_pid_file(paths: Paths) -> None:
    # What stays on a disk that takes nothing is not believed by anybody.
    with suppress(OSError):
        os.unlink(paths.pid_file)


def tidy(paths: Paths) -> None:
    """Remove what a killed supervisor could not, unless somebody new has begun. Not where somebody else may write."""
    if distrust(paths.state) or distrust(paths.runtime):
        return
    lock = take_lock(paths.lock)
    if lock is not None:
        for path in (paths.pid_file, paths.client_socket, paths.worker_socket):
            with suppress(FileNotFoundError):
                os.unlink(path)
        os.close(lock)


def find_supervisor(paths: Paths) -> Running | None:
    """The supervisor of this state directory, if it lives. What its pid file claims is checked against the kernel."""
    wanted = _look_at_lock(paths.lock)
    if wanted is None:
        return _bereft(paths)
    try:
        with open(open_regular(paths.pid_file), encoding="utf-8") as file:
            pid, more = int(file.readline(LINE)), json.loads(file.readline(LINE))
        started, config, stopping = int(more["started"]), str(more["config"]), bool(more["stopping"])
    except (OSError, ValueError, KeyError, TypeError):
        return _bereft(paths)
    found = read_process(pid)
    if found is None or found.is_zombie or found.started != started or pid not in _lockers(pid, wanted):
        return _bereft(paths)
    return Running(found, config, stopping)


def _bereft(paths: Paths) -> Running | None:
    """One that lives and whose files somebody removed."""
    found = bereft.supervisor(paths)
    return None if found is None else Running(found, bereft.config_of(found, paths), is_stopping=False)
