"""Other processes, as /proc shows them: who they are, whose they are, and how to signal the right one.

A pid alone is never trusted: it may have been reused since it was read. A `Process` carries its start time, and
`send` checks it again through a pidfd before it signals. Reads only; decides nothing. Used by the supervisor and by
`mozartd stop`.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: The kernel cuts a process's name to so many bytes.
COMM_BYTES = 15
#: Between two looks at a process that nobody tells us about, at most.
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    group: int
    started: int
    """Clock ticks since boot: with the pid, unique until the machine reboots."""
    is_zombie: bool


def read_process(pid: int) -> Process | None:
    """None when there is no such process any more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None
    # The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[19]), fields[0] in b"ZX")


def is_stopped(pid: int) -> bool:
    """By a signal, a debugger, or because its cgroup is frozen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()[0]
        return state in (b"T", b"t") or _is_frozen(pid)
    except OSError:
        return False


def _is_frozen(pid: int) -> bool:
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        unified = [line.rstrip("\n")[3:] for line in file if line.startswith("0::")]
    with open(f"/sys/fs/cgroup{unified[0] if unified else ''}/cgroup.events", encoding="utf-8") as file:
        return "frozen 1" in file.read().splitlines()


def all_processes() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := read_process(int(name))):
            yield process


def environment(pid: int) -> dict[bytes, bytes]:
    """What the process was started with; empty when it is not ours to read or gone."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = file.read().split(b"\0")
    except OSError:
        return {}
    return dict(pair.split(b"=", 1) for pair in pairs if b"=" in pair)


def name_of(pid: int) -> str:
    """As the kernel has it; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return os.fsdecode(file.read().rstrip(b"\n"))
    except OSError:
        return ""


def open_pidfd(process: Process) -> int | None:
    """A pidfd that certainly refers to this very process; None when it has ended. Raises OSError when none can be had."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if not is_there(process):
        os.close(pidfd)
        return None
    return pidfd


def is_there(process: Process) -> bool:
    """It has not ended, or is not reaped yet."""
    now = read_process(process.pid)
    return now is not None and now.started == process.started


def send(process: Process, number: signal.Signals) -> bool:
    """Signal exactly this process. False when it has ended or may not be signalled."""
    try:
        pidfd = open_pidfd(process)
    except OSError:
        return _send_by_pid(process, number)
    if pidfd is None:
        return False
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    except OSError:
        return _send_by_pid(process, number)
    finally:
        os.close(pidfd)
    return True


def _send_by_pid(process: Process, number: signal.Signals) -> bool:
    """Where pidfds are refused: the start time is looked at right before, and a pid is not given to another at once."""
    try:
        if is_there(process):
            os.kill(process.pid, number)
            return True
    except OSError:
        return False
    return False


def wait_ended(processes: Iterable[Process], timeout: float | None) -> bool:
    """Whether all of them ended within `timeout` seconds (None: however long it takes)."""
    deadline = None if timeout is None else time.monotonic() + timeout
    return all(_wait_ended(process, deadline) for process in processes)


def _wait_ended(process: Process, deadline: float | None) -> bool:
    try:
        pidfd = open_pidfd(process)
    except OSError:
        return _look_until_ended(process, deadline)
    if pidfd is None:
        return True
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    try:
        return bool(poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(pidfd)


def _look_until_ended(process: Process, deadline: float | None) -> bool:
    """Where pidfds are refused, nobody says when it ends."""
    pause = LOOK_SECONDS / 64
    while (now := read_process(process.pid)) is not None and now.started == process.started and not now.is_zombie:
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, LOOK_SECONDS)
    return True
