"""What Mozart needs of the machine, asked once before the daemon begins: each that is refused is named, with what to do.

An old kernel, a container's seccomp profile, a file system without locks or a missing /proc would otherwise show when an
agent is to be started or somebody is to be stopped. Called by `main` and `commands`.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable

from ipc.errors import MozartError

#: Open files that an idle daemon's busiest process has, and a few agents.
FEWEST_FILES = 48


def check_proc() -> None:
    """Raises MozartError when there is no /proc: who is who would not be known."""
    if not os.path.exists("/proc/self/stat"):
        raise MozartError("E404", "cannot go on: /proc is not mounted", "mount it: mount -t proc proc /proc")


def check() -> None:
    """Raises MozartError with the first call that is refused."""
    check_proc()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < FEWEST_FILES:
        hint = "raise it: `ulimit -n 1024`, or LimitNOFILE= of the unit"
        raise MozartError("E404", f"cannot start: only {files} files may be open at once (ulimit -n)", hint)
    from mozartd.signals import Waiter

    for name, call in (
        ("memfd_create", lambda: os.memfd_create("mozart", os.MFD_CLOEXEC)),
        ("pidfd_open", lambda: os.pidfd_open(os.getpid())),
        ("pidfd_send_signal", _signal_nobody),
        ("sigtimedwait", lambda: Waiter(()).wait(0.0)),
    ):
        _try(name, call)


def _try(name: str, call: Callable[[], object]) -> None:
    try:
        opened = call()
    except (OSError, AttributeError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or "this Python does not have it"
        hint = "Mozart needs Linux 5.3; in a container, allow it in the seccomp profile"
        raise MozartError("E404", f"cannot start: {name} is refused: {why}", hint) from None
    if isinstance(opened, int):
        os.close(opened)


def _signal_nobody() -> None:
    own = os.pidfd_open(os.getpid())
    try:
        signal.pidfd_send_signal(own, 0)
    finally:
        os.close(own)
