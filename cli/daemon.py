"""Reaching the daemon: connect, ask, and start one when none answers.

Verbs call `ask` for one question and `connect` for several, or for a subscription. A connection waits ANSWER_SECONDS for any
one answer, so that a daemon that hangs is reported as unreachable instead of hanging its clients.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ipc.client import Disconnected, NotListening
from ipc.errors import EXIT_UNREACHABLE, MozartError
from ipc.line import Line
from ipc.paths import Paths, find_paths

#: A healthy daemon answers in microseconds; a coordinator that is being restarted, in a second or two.
ANSWER_SECONDS = 30.0
#: Tries to start one that somebody else stops again.
STARTS = 3


def connect() -> Line:
    """Raises NotListening when no daemon runs. One that is being started is waited for."""
    paths = find_paths()
    deadline, pause = None, 0.01
    while True:
        try:
            return Line(paths.client_socket, ANSWER_SECONDS)
        except NotListening:
            import time

            deadline = deadline or time.monotonic() + ANSWER_SECONDS
            if time.monotonic() > deadline or not _is_being_started(paths):
                raise
            time.sleep(pause)
            pause = min(2 * pause, 0.2)


def _is_being_started(paths: Paths) -> bool:
    """Its pid file comes first, long before its sockets."""
    import json

    try:
        with open(paths.pid_file, encoding="utf-8") as file:
            pid, more = int(file.readline()), json.loads(file.readline())
        with open(f"/proc/{pid}/stat", "rb") as stat:
            started = int(stat.read().rpartition(b")")[2].split()[19])
        return started == more["started"] and not more["stopping"]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def ask(method: str, params: dict[str, Any] | None = None) -> Any:
    with connect() as line:
        return line.request(method, params)


def ask_at_length(method: str, params: Callable[[], dict[str, Any]]) -> Any:
    """Ask what may take hours to answer; asked again, with what `params` gives then, when the daemon was restarted."""
    with connect() as line:
        while True:
            line.client.set_timeout(None)
            try:
                return line.client.request(method, params())
            except Disconnected:
                line.find_again()


def connect_or_start(may_start: bool) -> tuple[Line, int | None]:
    """A connection, and the pid of the daemon if it had to be started."""
    try:
        return connect(), None
    except NotListening as error:
        if not may_start:
            hint = "leave --no-start out, or start it with `mozartd start`"
            raise MozartError(error.code, error.message, hint, EXIT_UNREACHABLE) from None
    for _ in range(STARTS - 1):
        pid, is_ours = start()
        try:
            return connect(), pid if is_ours else None
        except NotListening:
            # Somebody stopped it meanwhile, or it was the one that was being stopped.
            continue
    pid, is_ours = start()
    return connect(), pid if is_ours else None


def start() -> tuple[int, bool]:
    """Start a daemon for this user in the background; its pid when it is ready, and whether it was we who started it: of
    several of us at once one does."""
    import signal
    import subprocess
    import sys

    import orjson

    # As a shell's trap or another program may have left it: then nobody hears how a child ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    # The file, not `-m mozartd`: what the user's PYTHONPATH or working directory holds must not come first. -P for the same
    # reason: the folder of entry.py holds modules with everyday names.
    entry = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "mozartd", "entry.py")
    command = [sys.executable, "-P", entry, "start", "--by-client", "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    try:
        answer = orjson.loads(done.stdout)
        return int(answer["pid"]), answer["state"] == "ready"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        why = (done.stderr or done.stdout).strip() or f"`mozartd start` ended with exit code {done.returncode}"
        raise MozartError("E501", f"cannot start a daemon: {why}", "`mozartd start --foreground` shows more",
                          EXIT_UNREACHABLE) from None  # fmt: skip
