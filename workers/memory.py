"""Want of memory: agents are the first that the kernel is to kill, and whether it did, the counter of every memory cgroup.

A process that dies of SIGKILL says nothing; the counter of the cgroup we share with our agents does, if it rose while the
attempt ran. Called by `spawn`, by `agent` at its start and by `attempt` at its end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

_V1 = re.compile(rb"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(/.*)$", re.MULTILINE)
_V2 = re.compile(rb"^0::(/.*)$", re.MULTILINE)
_COUNT = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills() -> int:
    """How many processes of this cgroup the kernel has killed; 0 where nobody counts."""
    for path in _counters():
        found = _COUNT.search(_read(path))
        if found:
            return int(found[1])
    return 0


#: How much sooner than a worker an agent is killed; of 1000.
SOONER = 500


@contextmanager
def first_to_go() -> Iterator[None]:
    """What is started within is the kernel's first victim when memory runs out, with all that it starts. Worn by ourselves
    for the millisecond of a vfork: written into the child's file, it would come after its exec, and not to its first
    children."""
    file, own = _score()
    if file < 0:
        yield
        return
    _wear(file, min(1000, max(0, own) + SOONER))
    try:
        yield
    finally:
        _wear(file, own)


def _wear(file: int, score: int) -> None:
    # A sandbox may show the file and take nothing.
    with suppress(OSError):
        os.pwrite(file, b"%d" % score, 0)


@cache
def _score() -> tuple[int, int]:
    """Our own file, and what is in it; -1 where there is none."""
    try:
        file = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        return file, int(os.pread(file, 16, 0))
    except (OSError, ValueError):
        return -1, 0


@cache
def _counters() -> tuple[bytes, ...]:
    """Where the count may stand. A process that starts agents is not moved to another cgroup."""
    own = _read(b"/proc/self/cgroup")
    first, second = _V1.search(own), _V2.search(own)
    paths = [b"/sys/fs/cgroup/memory%s/memory.oom_control" % first[1].rstrip(b"/")] if first else []
    paths += [b"/sys/fs/cgroup%s/memory.events" % second[1].rstrip(b"/")] if second else []
    return tuple(paths)


def _read(path: bytes) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)
