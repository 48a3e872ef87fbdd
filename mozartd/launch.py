"""How `mozartd start` turns into a running supervisor, and hears what became of it.

The supervisor is a fresh interpreter (`mozartd supervise <request>`) rather than a fork of the command: it carries
none of the command line's modules into its children, its environment is its own, and re-executing it is the same
thing again. It reports one line of JSON on a pipe: that it is ready, or why it could not boot.
"""

from __future__ import annotations

import errno
import json
import os
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from ipc.environment import AGENT_MARKS, without_git
from ipc.errors import EXIT_FAILED, MozartError
from ipc.paths import Paths, find_paths, secure_directory
from ipc.trust import refuse_foreign
from mozartd import daemon_log, entry
from mozartd.daemonize import run_in_background

if TYPE_CHECKING:
    from mozartd.settings import Settings

#: How long `mozartd start` waits for the daemon to be ready before it says that it is still starting.
PATIENCE_SECONDS = 60.0

#: What says whose agent or whose client somebody is, and must not reach a daemon started by one.
_NOT_INHERITED = ("MOZART_STATE", "MOZART_ATTEMPT_ID", "MOZART_SOCKET")


@dataclass(frozen=True, slots=True)
class Request:
    """What the supervisor is told on its command line."""

    paths: Paths
    config_must_exist: bool = False
    workers: int | None = None
    started_by_client: bool = False
    log: str | None = None
    """The file that its stderr is, in the background."""
    report: int | None = None
    """Descriptor to report on."""
    keep_report: bool = False
    """It is stdout, not a pipe that closes to say that nothing more will come."""
    handover: int | None = None
    """Descriptor of what the image before leaves to this one; None for a new daemon."""
    is_trial: bool = False
    """Only try whether that would work."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        fields = json.loads(text)
        return cls(**{**fields, "paths": Paths(**fields["paths"])})


#: (descriptor of a handover, whether it is only a trial) → the program to execute.
Command = Callable[[int, bool], Sequence[str]]


@dataclass(slots=True)
class Launch:
    """How the supervisor was asked to run, and how it would ask its successor."""

    paths: Paths
    load_settings: Callable[[], Settings]
    command: Command
    log_path: str | None = None
    """The file that stderr is, when it is one."""
    started_by_client: bool = False
    on_ready: Callable[[], None] = field(default=lambda: None)
    """Called once, when the coordinator answers for the first time."""
    overruled: Callable[[Settings], Mapping[str, str]] = field(default=lambda settings: {})
    """Settings in the file that are not in force, and what wins."""
    doubts: Callable[[Settings], list[str]] = field(default=lambda settings: [])
    """What in the settings may be meant otherwise."""


def command_line(request: Request) -> list[str]:
    """-P, because the folder of `entry.py` holds modules with everyday names."""
    return [sys.executable, "-P", os.path.join(entry.ROOT, "mozartd", "entry.py"), "supervise", request.to_json()]


def successor(request: Request) -> Command:
    """It has nobody to report to: whoever started the daemon has heard."""
    return lambda handover, is_trial: command_line(
        replace(request, report=None, keep_report=False, handover=handover, is_trial=is_trial)
    )


def daemon_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The starter's, but for what ties the starter itself to a daemon, an agent or a repository. The daemon will run in /."""
    dropped = AGENT_MARKS.union(_NOT_INHERITED)
    kept = {name: value for name, value in without_git(env, os.getpid()).items() if name not in dropped}
    if kept.get("MOZART_HOME"):
        kept["MOZART_HOME"] = os.path.dirname(find_paths(kept).config)
    return kept


def run_here(request: Request) -> NoReturn:
    """Become the supervisor: same pid, same terminal."""
    argv = command_line(request)
    os.execve(argv[0], argv, daemon_environment(os.environ))  # noqa: S606 - no shell wanted


def start_in_background(request: Request) -> dict[str, Any]:
    """What the new daemon reported: `{pid, state}`. Raises MozartError with the reason, or with the end of its log."""
    log = request.paths.daemon_log
    refuse_foreign(request.paths.state, "start")
    secure_directory(request.paths.state)
    daemon_log.rotate(log)
    _require_writable(log)
    offset = os.path.getsize(log) if os.path.exists(log) else 0
    read, write = os.pipe()
    told = Request(request.paths, request.config_must_exist, request.workers, request.started_by_client, log, write)
    run_in_background(command_line(told), daemon_environment(os.environ), log, write)
    os.close(write)
    return _hear(read, log, offset)


def _require_writable(log: str) -> None:
    """Else nobody would hear why the daemon did not start."""
    try:
        os.close(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        hint = "make its disk writable" if error.errno == errno.EROFS else "check what is there, and its permissions"
        raise MozartError("E403", f"cannot start the daemon: cannot write {log}: {error.strerror}", hint) from None


def _hear(read: int, log: str, offset: int) -> dict[str, Any]:
    ready, _, _ = select.select([read], [], [], PATIENCE_SECONDS)
    said = os.read(read, 65536) if ready else b""
    os.close(read)
    if not ready:
        hint = f"it may need more time; see its log: {log}"
        raise MozartError(
            "E401", f"cannot say that the daemon is ready after {PATIENCE_SECONDS:.0f} s", hint, EXIT_FAILED
        )
    if not said:
        message = (
            f"cannot start the daemon: it ended before it was ready\n{daemon_log.last_lines(log, offset)}".rstrip()
        )
        raise MozartError("E401", message, f"see its whole log: {log}", EXIT_FAILED)
    answer: dict[str, Any] = json.loads(said)
    if "error" in answer:
        raise MozartError(**answer["error"])
    return answer


def report(request: Request, answer: dict[str, Any]) -> None:
    """From the supervisor, at most once."""
    if request.report is None:
        return
    # The starter may have been interrupted; the daemon it asked for runs all the same.
    with suppress(OSError):
        os.write(request.report, json.dumps(answer).encode() + b"\n")
    if not request.keep_report:
        os.close(request.report)
