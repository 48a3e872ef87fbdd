"""Whether the kernel killed for want of memory: the counter that every memory cgroup keeps.

A process that dies of SIGKILL says nothing; the counter of the cgroup we share with our agents does, if it rose while the
attempt ran. Called by `agent` at its start and by `attempt` at its end.
"""

from __future__ import annotations

import os
import re
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
