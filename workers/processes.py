"""What /proc says about processes, and killing exactly the one that was seen.

A process is known by pid and start time, so that a pid the kernel gave to somebody else is never signalled. psutil is
not used: a sweep runs at the end of every attempt and must cost microseconds when there is nothing to find.
Called by `stop` and by `main` when the supervisor has died.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import defaultdict
from typing import NamedTuple


class Seen(NamedTuple):
    pid: int
    started: int
    """Clock ticks since boot."""


class Stat(NamedTuple):
    parent: int
    group: int
    session: int
    started: int
    zombie: bool


def stat(pid: int) -> Stat | None:
    """None when there is no such process (any more)."""
    text = _read(f"/proc/{pid}/stat")
    if not text:
        return None
    # The name may hold blanks and parentheses; the last ")" ends it.
    fields = text[text.rindex(b")") + 2 :].split(b" ", 20)
    return Stat(int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), fields[0] in (b"Z", b"X"))


def children(pid: int) -> list[int]:
    """The direct children, zombies included. Those born meanwhile may be missing: sweeps look again."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    if not _KERNEL_LISTS_CHILDREN:
        return _parents_and_children().get(pid, [])
    return [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def own_children() -> list[int]:
    """Our direct children; orphans that came home are listed under the main thread, as are those it forked."""
    if not _KERNEL_LISTS_CHILDREN:
        return children(os.getpid())
    pid = os.getpid()
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]


def descendants(pid: int) -> dict[int, int]:
    """pid → start time of everything below `pid`, without it."""
    found: dict[int, int] = {}
    waiting = children(pid)
    while waiting:
        child = waiting.pop()
        state = stat(child)
        if state is not None and child not in found:
            found[child] = state.started
            waiting += children(child)
    return found


def environment_of(pid: int, names: tuple[bytes, ...]) -> tuple[bytes | None, ...]:
    """The values of these variables as the process was started with; None for what is unset or not ours to read."""
    values: dict[bytes, bytes] = {}
    for entry in _read(f"/proc/{pid}/environ").split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name in names:
            values[name] = value
    return tuple(values.get(name) for name in names)


def name_of(pid: int) -> str:
    """As the kernel has it: 15 bytes at most; empty when it is gone."""
    return os.fsdecode(_read(f"/proc/{pid}/comm").rstrip(b"\n"))


def ticks() -> int:
    """Now, as start times are told."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def is_alive(seen: Seen) -> bool:
    state = stat(seen.pid)
    return state is not None and state.started == seen.started and not state.zombie


def kill(seen: Seen, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal this process, and no other that got its pid."""
    try:
        handle = os.pidfd_open(seen.pid)
    except OSError:
        return
    try:
        # The start time is read after the handle is open: from here on the handle means whoever this was.
        if is_alive(seen):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def _parents_and_children() -> dict[int, list[int]]:
    tree: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit():
            state = stat(int(name))
            if state is not None:
                tree[state.parent].append(int(name))
    return tree


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        blocks = []
        while block := os.read(descriptor, 65536):
            blocks.append(block)
        return b"".join(blocks)
    except OSError:
        # The process went away between open and read, or its environment is not ours to see.
        return b""
    finally:
        os.close(descriptor)


#: False on kernels built without CONFIG_PROC_CHILDREN: then the whole of /proc is read instead.
_KERNEL_LISTS_CHILDREN = os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
