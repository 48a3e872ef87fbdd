"""Leaving the terminal: a process of its own session, without the starter's descriptors, that runs one program.

The only thing kept is one end of a pipe on which the new daemon reports what became of it. Called by `mozartd start`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import NoReturn

from mozartd.daemon_log import redirect_output


def run_in_background(argv: Sequence[str], env: Mapping[str, str], log: str, report: int) -> None:
    """Start `argv` with stdout and stderr appended to `log`. `report` stays open in it, under the same number."""
    pid = os.fork()
    if pid == 0:
        _detach(argv, env, log, report)
    os.waitpid(pid, 0)


def _detach(argv: Sequence[str], env: Mapping[str, str], log: str, report: int) -> NoReturn:
    try:
        os.setsid()
        # Once more: a process that does not lead its session can never get a terminal again.
        if os.fork():
            os._exit(0)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        redirect_output(log)
        # What the shell that started us had open is not ours to keep open.
        os.closerange(3, report)
        os.closerange(report + 1, os.sysconf("SC_OPEN_MAX"))
        os.set_inheritable(report, True)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execve(argv[0], list(argv), env)  # noqa: S606 - no shell wanted
    finally:
        # Reached only when something above failed; the starter sees the pipe close and shows the log.
        os._exit(1)
