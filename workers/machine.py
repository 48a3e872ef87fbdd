"""What the machine did not give: a process, a descriptor, memory, room on a disk. Not the sheet's fault, and over one day.

An agent's own want of these is the agent's. Called by those in this package who ask the kernel for something.
"""

from __future__ import annotations

import errno
import resource

from ipc.errors import MozartError

_SCARCE = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_FULL = frozenset({errno.EDQUOT, errno.ENOSPC})
#: Descriptors that a running attempt holds, and those that the rest of a worker and the start of one take for a moment.
PER_ATTEMPT, RESERVED = 6, 24


def fault(error: OSError, sentence: str) -> MozartError | None:
    """None when the machine has what it takes."""
    if error.errno in _SCARCE:
        hint = "the machine ran out of processes, memory or files: it continues when there is room"
        return MozartError("E010", f"{sentence}: {error.strerror}", hint)
    if error.errno in _FULL:
        return MozartError(
            "E403", f"{sentence}: {error.strerror}", "make room on that disk: it continues when there is some"
        )
    return None


def bearable(attempts: int) -> int:
    """As many of these as this process has descriptors for; one at least."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return attempts
    return max(1, min(attempts, (most - RESERVED) // PER_ATTEMPT))
