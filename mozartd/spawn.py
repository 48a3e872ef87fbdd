"""Forking one child, and what the child does before and after its own main function.

The child starts with nothing of the supervisor's but what it was meant to have: default signal handling, its own
session (so that Ctrl-C at a terminal reaches the supervisor alone), no descriptor it could keep a dead supervisor's
promises with.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
from collections.abc import Callable, Iterable
from typing import NoReturn

from ipc.setup import EXIT_CANNOT_BOOT
from mozartd.daemon_log import start_logging

_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

#: Exit code of a child whose main function raised.
EXIT_CRASHED = 1

_libc = ctypes.CDLL(None, use_errno=True)
log = logging.getLogger(__name__)


def become_subreaper() -> None:
    """Orphans below us come home to us instead of to init."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a child-subreaper")


def set_title(title: str) -> None:
    """What `ps -o comm` and `top` show, 15 bytes of it."""
    _libc.prctl(_PR_SET_NAME, title.encode(), 0, 0, 0)


def fork_child(main: Callable[[], int], title: str, level: str, log_path: str | None, close: Iterable[int]) -> int:
    """The new child's pid. It runs `main`, exits with what that returns, and never comes back from here."""
    pid = os.fork()
    if pid == 0:
        _be_child(main, title, level, log_path, close)
    return pid


def _be_child(main: Callable[[], int], title: str, level: str, log_path: str | None, close: Iterable[int]) -> NoReturn:
    code = EXIT_CRASHED
    try:
        for descriptor in close:
            os.close(descriptor)
        os.setsid()
        _reset_signals()
        set_title(f"mozart-{title}")
        start_logging(title, level, log_path)
        # A hung child is sent SIGABRT before SIGKILL: its log then shows where it hung.
        faulthandler.enable()
        code = main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else EXIT_CRASHED
    except ImportError:
        log.critical("cannot boot", exc_info=True)
        code = EXIT_CANNOT_BOOT
    except BaseException:  # the edge of the process: whatever it was, it must be in the log
        log.critical("crashed", exc_info=True)
    finally:
        # Not sys.exit: the supervisor's own atexit handlers and buffers are not the child's to run.
        with contextlib.suppress(BaseException):
            logging.shutdown()
        os._exit(code)


def _reset_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def describe_exit(status: int) -> str:
    """A wait status in words."""
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exited with code {os.WEXITSTATUS(status)}"
