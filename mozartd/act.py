"""Telling a child what `converge` found due: drain, stop, say where it hangs, die. Starting one is `births`.

Marks the child as told, so that it is told once. Called by the supervisor alone, for children that are not reaped.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress

from ipc.setup import DRAIN_SIGNAL
from mozartd.converge import Abort, Child, Drain, Kill, Stop

log = logging.getLogger("supervisor")


def tell(action: Drain | Stop | Abort | Kill, now: float) -> None:
    match action:
        case Drain(child):
            child.is_draining = True
            _signal(child, DRAIN_SIGNAL, "no longer wanted")
        case Stop(child):
            child.stop_sent = now
            _signal(child, signal.SIGTERM, "stopping")
        case Abort(child):
            child.abort_sent = now
            log.error("%s (pid %d) hangs: its loop has not moved for too long", child.slot, child.pid)
            _signal(child, signal.SIGABRT, "hangs")
        case Kill(child, reason):
            child.is_killed = True
            log.warning("killing %s (pid %d): %s", child.slot, child.pid, reason)
            _signal(child, signal.SIGKILL, reason)


def _signal(child: Child, number: signal.Signals, reason: str) -> None:
    # The child is ours and not reaped yet, so the pid cannot be anybody else's.
    log.debug("%s to %s (pid %d): %s", number.name, child.slot, child.pid, reason)
    with suppress(ProcessLookupError):
        os.kill(child.pid, number)
