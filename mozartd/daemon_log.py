"""The daemon's own log: one line per event, `<time> <process>[<pid>] <level> <what>`, always written to stderr.

In the background stderr is `state/mozartd.log`, shared by every process through O_APPEND. The supervisor alone
rotates: it renames the file, and each process notices at its next line that its stderr is no longer the file at that
path and reopens it. So no line is lost, and `logrotate` may do the same. Attempts' logs are something else:
`workers`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress

#: Size of the log from which it is rotated, and how many old ones are kept.
MAX_BYTES = 10 * 1024 * 1024
KEPT = 3

#: Priorities that systemd's journal understands at the beginning of a line.
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Formatter(logging.Formatter):
    def __init__(self, process: str, *, for_systemd: bool) -> None:
        super().__init__()
        self._process = process
        self._for_systemd = for_systemd

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        said = f"{self._process}[{record.process}] {record.levelname.lower()} {text}"
        if self._for_systemd:
            return f"<{_PRIORITIES.get(record.levelno, 6)}>{said}"
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.msecs):03d}Z {said}"


class _StderrHandler(logging.Handler):
    """Writes each line with one `write`, so that lines of several processes never mix."""

    def __init__(self, path: str | None) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record).encode(errors="backslashreplace") + b"\n"
        try:
            if self._path is not None and not _is_stderr(self._path):
                redirect_output(self._path)
            os.write(2, line)
        except OSError:
            # The disk is full or the terminal has gone: nowhere left to say so, and no reason to stop the work.
            return


def _is_stderr(path: str) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(2))
    except FileNotFoundError:
        return False


def redirect_output(path: str) -> None:
    """Make the file at `path` our stdout and stderr."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def start_logging(process: str, level: str, path: str | None) -> logging.Logger:
    """Say who we are from now on. `path`: the file that stderr is, None when it is a terminal or systemd's."""
    handler = _StderrHandler(path)
    handler.setFormatter(_Formatter(process, for_systemd=path is None and _is_journal()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    return logging.getLogger(process)


def _is_journal() -> bool:
    found = os.fstat(sys.stderr.fileno())
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def rotate(path: str) -> None:
    """Make room when the log has grown too large. The supervisor alone calls this."""
    # A log that somebody else moves, or a disk that takes no rename, is no reason to stop the work.
    with suppress(OSError):
        if os.stat(path).st_size < MAX_BYTES:
            return
        for number in range(KEPT - 1, 0, -1):
            if os.path.exists(f"{path}.{number}"):
                os.rename(f"{path}.{number}", f"{path}.{number + 1}")
        os.rename(path, f"{path}.1")


def last_lines(path: str, offset: int, count: int = 20) -> str:
    """The end of what was written after `offset`, for whoever has to explain why the daemon did not start."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            lines = file.read(1 << 20).decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-count:])
