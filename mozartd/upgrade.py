"""An upgrade in place: try what is installed now, then become it, with the same pid and everything that is held open.

The trial is a child that runs the new code as far as it can without replacing anything: it reads every file of the package
(`rehearsal`), imports everything, reads the settings and the handover, looks at the database's version, makes a supervisor of
it all, and exits 0; or the last line it prints says why not. So a
broken installation and broken settings never replace a daemon that runs. Called by the supervisor, which never waits for
the trial but reaps it like every child.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from mozartd import entry
from mozartd.handover import Handover, leave, set_inheritable
from mozartd.launch import Command
from mozartd.spawn import describe_exit

#: Seconds after which a trial has failed: a cold disk may need ten for the imports.
PATIENCE_SECONDS = 60.0
#: Bytes of what it printed that are looked at: a sentence, or a traceback.
_TAIL = 64 * 1024
_PLACE = re.compile(r'^ *File "([^<"].*)", line (\d+)', re.MULTILINE)


class Trial:
    def __init__(self, command: Command, fork: Callable[[Callable[[], int]], int]) -> None:
        self._command = command
        self._fork = fork
        self._printed = -1
        self.pid: int | None = None
        self.due_at: float | None = None
        """When it has taken too long."""

    def start(self, handover: Handover, now: float) -> None:
        """Raises OSError when there is no room for one more process."""
        document, printed = leave(handover), os.memfd_create("mozart-trial", os.MFD_CLOEXEC)
        try:
            self.pid = self._fork(lambda: _run(self._command(document, True), document, printed))
        except OSError:
            os.close(printed)
            raise
        finally:
            os.close(document)
        self._printed, self.due_at = printed, now + PATIENCE_SECONDS

    def give_up(self) -> None:
        """It takes too long, or nobody wants to know any more. Its end is reaped like any other."""
        if self.pid is not None:
            self.due_at = None
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def reaped(self, status: int) -> str:
        """Why what is installed cannot take over; empty when it can."""
        self.pid, is_late, self.due_at = None, self.due_at is None, None
        said = _reason(self._printed)
        os.close(self._printed)
        if status == 0:
            return ""
        if is_late:
            return f"the trial took longer than {PATIENCE_SECONDS:.0f} s"
        return said or f"it {describe_exit(status)} and said nothing"


def _run(argv: Sequence[str], document: int, printed: int) -> int:
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    os.set_inheritable(document, True)
    try:
        os.execv(argv[0], list(argv))  # noqa: S606 - no shell wanted
    except OSError as error:
        os.write(2, f"cannot run {argv[0]}: {error.strerror}\n".encode())
    return 1


def _reason(file: int) -> str:
    """The last line it printed; of a traceback also where that was, in a file of ours if there is one."""
    size = os.fstat(file).st_size
    text = os.pread(file, _TAIL, max(0, size - _TAIL)).decode(errors="replace")
    last = next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")
    places = _PLACE.findall(text)
    ours = [place for place in places if place[0].startswith(entry.ROOT + os.sep)]
    return "{0}, line {1}: {last}".format(*(ours or places)[-1], last=last) if places else last


def become(command: Command, handover: Handover, environment: Mapping[str, str]) -> NoReturn:
    """Execute the successor, which finds everything in `handover` open. Raises OSError, and then nothing has changed."""
    document = leave(handover)
    kept = [document, *handover.descriptors()]
    argv = command(document, False)
    set_inheritable(kept, inheritable=True)
    try:
        os.execve(argv[0], list(argv), environment)  # noqa: S606 - no shell wanted
    except OSError:
        set_inheritable(kept, inheritable=False)
        os.close(document)
        raise
