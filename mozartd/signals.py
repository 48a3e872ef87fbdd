"""Waiting for one of the supervisor's signals, or for a time.

Not `signal.sigtimedwait`: when SIGCONT interrupts that after its time has passed, CPython reads a result that nobody has
written, which may be any number, also that of a signal that was received earlier. Here what is not in the set is a
time-out.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Iterable

from ipc.errors import MozartError

#: More than any kernel's set of signals has.
_SET_BYTES = 128


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Waiter:
    """For signals that are blocked."""

    was_stopped = False
    """The last wait ended because we were continued after a stop or a freeze: nothing else interrupts it."""

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._sigtimedwait = libc.sigtimedwait
        except AttributeError:
            hint = "Mozart needs Linux with a C library that has it"
            raise MozartError("E404", "cannot start: this system has no sigtimedwait", hint) from None
        self._set = ctypes.create_string_buffer(_SET_BYTES)
        libc.sigemptyset(self._set)
        for number in numbers:
            libc.sigaddset(self._set, int(number))
        self._numbers = frozenset(numbers)

    def wait(self, seconds: float) -> signal.Signals | None:
        """The signal that came; None when the time is up, or we were stopped."""
        whole = int(seconds)
        time = _Timespec(whole, int((seconds - whole) * 1e9))
        received = self._sigtimedwait(self._set, None, ctypes.byref(time))
        self.was_stopped = received == -1 and ctypes.get_errno() == errno.EINTR
        if received == -1 and ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "sigtimedwait")
        return signal.Signals(received) if received in self._numbers else None
