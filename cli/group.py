"""The end of a program that we ran in a session of its own, and of whatever it leaves running. Called by `machine`, `trial`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess


def finish(process: subprocess.Popen[bytes], patience: float) -> bool:
    """Wait for its end, that many seconds at most, kill its group, and reap it. Whether it ended by itself."""
    try:
        return _has_ended(process.pid, patience)
    finally:
        # Before it is reaped: from then on its number may be another group's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_ended(pid: int, patience: float) -> bool:
    handle = os.pidfd_open(pid)
    try:
        end = select.poll()
        end.register(handle, select.POLLIN)
        return bool(end.poll(patience * 1000))
    finally:
        os.close(handle)
