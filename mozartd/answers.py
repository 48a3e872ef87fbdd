"""How a command hears what became of the signal that it sent to the supervisor.

A command makes a FIFO of its own in the runtime directory (`Hearing`), signals, and waits; the supervisor, also the next
image of it, writes one line of JSON to every FIFO of that kind (`tell`) and never waits for anybody. What nobody reads
any more is removed. A signal without a FIFO is as good; then the log alone says what became of it.
"""

from __future__ import annotations

import errno
import json
import os
import select
import stat
from contextlib import suppress
from types import TracebackType
from typing import Any

from ipc.errors import MozartError
from ipc.paths import Paths, secure_directory
from ipc.trust import refuse_foreign
from mozartd.processes import Process, open_pidfd

#: More than any answer has, and what an empty pipe takes at once.
_MAX_LINE = 65536


class Hearing:
    """In the command: made before the signal is sent, so that no answer is missed. Never in a directory that is not ours: who
    owns it could put something else there."""

    def __init__(self, paths: Paths, kind: str) -> None:
        refuse_foreign(paths.runtime, kind)
        self._path = os.path.join(paths.runtime, f"{kind}.{os.getpid()}")
        if not os.path.exists(paths.runtime):
            # Somebody removed it under the daemon, which puts the rest back.
            secure_directory(paths.runtime)
        self._log = paths.daemon_log
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        try:
            os.mkfifo(self._path, 0o600)
            # For writing too: then the end of one writer is not the end of what there is to hear.
            self._fifo = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise MozartError("E303", f"cannot make {self._path}: {error.strerror}", "") from None

    def __enter__(self) -> Hearing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        os.close(self._fifo)
        with suppress(FileNotFoundError):
            os.unlink(self._path)

    def wait(self, supervisor: Process, seconds: float) -> dict[str, Any]:
        """The answer; an `error` in it is raised. So is the supervisor's end, and its silence."""
        try:
            pidfd = open_pidfd(supervisor)
        except OSError:
            # Pidfds are refused here: its end is not heard, and the time-out says enough.
            pidfd = os.dup(self._fifo)
        poll = select.poll()
        poll.register(self._fifo, select.POLLIN)
        if pidfd is not None:
            poll.register(pidfd, select.POLLIN)
        ready = [] if pidfd is None else [number for number, _ in poll.poll(seconds * 1000)]
        if pidfd is not None:
            os.close(pidfd)
        if self._fifo in ready:
            answer: dict[str, Any] = json.loads(os.read(self._fifo, _MAX_LINE).partition(b"\n")[0])
            if "error" in answer:
                raise MozartError(**answer["error"])
            return answer
        if pidfd is None or ready:
            raise MozartError("E401", "the daemon exited unexpectedly", f"see its log: {self._log}")
        raise MozartError("E001", f"the outcome is unknown: no answer in {seconds:.0f} s", f"see {self._log}")


def tell(paths: Paths, kind: str, answer: dict[str, Any]) -> None:
    """To every command that waits for this kind of answer."""
    line = json.dumps(answer).encode() + b"\n"
    with suppress(OSError), os.scandir(paths.runtime) as entries:
        for name in [entry.name for entry in entries if entry.name.startswith(f"{kind}.")]:
            _tell_one(os.path.join(paths.runtime, name), line)


def _tell_one(path: str, line: bytes) -> None:
    try:
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ENXIO:
            # A FIFO whose reader is gone.
            with suppress(OSError):
                os.unlink(path)
        return
    try:
        if stat.S_ISFIFO(os.fstat(fifo).st_mode):
            os.write(fifo, line)
    except OSError:
        # Full or just closed: nobody listens.
        return
    finally:
        os.close(fifo)


def error_answer(error: MozartError) -> dict[str, Any]:
    """So that `Hearing.wait` raises it in the command."""
    fields = {"code": error.code, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    return {"error": fields}
