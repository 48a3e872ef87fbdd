"""Hears when the wall clock was set, or when the machine comes back from sleep.

The loop's timers follow the monotonic clock; holds and times that people gave follow the wall clock. The kernel tells the
difference: a timerfd that is cancelled when the clock is set. Whoever is called then looks at the time again.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger(__name__)

_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
#: Never, as far as the kernel is concerned.
_NEVER = 2**62 // 10**9
#: Steps of less than this are what keeps a clock right, and nobody's timers notice.
STEP_SECONDS = 1.0


class _Timer(ctypes.Structure):
    _fields_ = (("interval", ctypes.c_long * 2), ("value", ctypes.c_long * 2))


class WallClock:
    """`on_set(seconds)` is told by how much the wall clock was moved; 0 after a sleep."""

    def __init__(self, on_set: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_set = on_set
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._ahead = _ahead()
        self._fd = self._libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            # Then timers are late after such a step, as late as the step was long; nothing else depends on it.
            log.warning("cannot hear when the clock is set: %s", os.strerror(ctypes.get_errno()))
            return
        self._loop.add_reader(self._fd, self._was_set)
        self._arm()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _arm(self) -> None:
        timer = _Timer((0, 0), (_NEVER, 0))
        flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
        self._libc.timerfd_settime(self._fd, flags, ctypes.byref(timer), None)

    def _was_set(self) -> None:
        # ECANCELED is the news.
        with suppress(OSError):
            os.read(self._fd, 8)
        self._arm()
        ahead = _ahead()
        moved, self._ahead = ahead - self._ahead, ahead
        if abs(moved) >= STEP_SECONDS:
            log.warning("the wall clock was set %+.1f s", moved)
        self._on_set(moved if abs(moved) >= STEP_SECONDS else 0.0)


def _ahead() -> float:
    """Of the time since boot, sleep included."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
