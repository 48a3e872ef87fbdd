"""The directory an attempt works on: making it, staying inside it, remembering it, collecting from it.

Called by `attempt` (prepare, remember, collect) and `validate` (confine, open_file, has_changed).
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

from ipc.errors import MozartError
from workers import machine

#: Files up to this size are compared by content as well.
HASHED_BYTES = 1024 * 1024
#: Files collected for later sheets, at most.
MAX_COLLECTED = 200


class Remembered(NamedTuple):
    """A file before the attempt; all zero when there was none."""

    modified: int = 0
    size: int = 0
    digest: bytes = b""


def prepare(workspace: str) -> None:
    """Make the workspace. Raises MozartError E601 when it cannot be one."""
    try:
        os.makedirs(workspace, exist_ok=True)
    except FileExistsError:
        sentence = f"cannot use the workspace {workspace}: it is a file"
        raise MozartError("E601", sentence, "remove it, or choose another with `--workspace`") from None
    except NotADirectoryError:
        sentence = f"cannot create the workspace {workspace}: a part of its path is a file"
        raise MozartError("E601", sentence, "choose another with `--workspace`") from None
    except OSError as error:
        sentence = f"cannot create the workspace {workspace}"
        if fault := machine.fault(error, sentence):
            raise fault from None
        sentence = f"{sentence}: {error.strerror}"
        raise MozartError("E601", sentence, "choose another with `--workspace`") from None
    if not os.access(workspace, os.W_OK | os.X_OK):
        sentence = f"cannot write to the workspace {workspace}"
        raise MozartError("E601", sentence, "give the daemon's user the right to, or choose another with `--workspace`")


def require_directory(path: str) -> None:
    """Raises MozartError E603 when an agent cannot be started there."""
    if not os.path.isdir(path):
        what = "it is not a directory" if os.path.exists(path) else "it does not exist"
        raise MozartError("E603", f"cannot run in {path}: {what}", "create it, or correct backend.working_directory")


def confine(path: str, workspace: str, roots: Sequence[str] = ()) -> str:
    """The real path of `path`, taken from the workspace when relative.

    Raises MozartError E601 when it leads out of there and of `roots`, by `..` or by a symlink.
    """
    real = os.path.realpath(os.path.join(workspace, path))
    for root in (workspace, *roots):
        base = os.path.realpath(root)
        if real == base or real.startswith(base.rstrip("/") + "/"):
            return real
    sentence = f"cannot look at {path}: it is outside the workspace {workspace}"
    raise MozartError("E601", sentence, "keep what is checked inside the workspace")


def open_file(path: str, workspace: str) -> IO[bytes] | None:
    """None: it is no regular file. Raises MozartError E601 when it is outside by now."""
    with _hold(path, workspace) as handle:
        return _open(handle) if stat.S_ISREG(os.fstat(handle).st_mode) else None


@contextlib.contextmanager
def _hold(path: str, workspace: str) -> Iterator[int]:
    """What the path leads to at this moment, whatever became of it since it was confined; only held, not opened: no pipe
    without a writer makes anybody wait."""
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        confine(os.readlink(f"/proc/self/fd/{handle}"), workspace)
        yield handle
    finally:
        os.close(handle)


def _open(handle: int) -> IO[bytes]:
    return open(f"/proc/self/fd/{handle}", "rb")


def remember(path: str, workspace: str) -> Remembered:
    """What `has_changed` compares with."""
    try:
        with _hold(path, workspace) as handle:
            found = os.fstat(handle)
            return Remembered(found.st_mtime_ns, found.st_size, _digest(handle, found))
    except OSError:
        return Remembered()


def has_changed(before: Remembered, path: str, workspace: str) -> bool:
    """Whether the file is another one than before. A touched file has changed, a missing one has not."""
    after = remember(path, workspace)
    return after != before and after != Remembered()


def collect(patterns: Iterable[str], workspace: str, limit: int) -> dict[str, str]:
    """path (from the workspace) → the last `limit` characters of each file that matches, in order."""
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in sorted(glob.iglob(os.path.join(glob.escape(workspace), pattern), recursive=True)):
            # Outside, unreadable, or gone meanwhile: as if it did not match.
            with contextlib.suppress(MozartError, OSError):
                file = open_file(path, workspace) if len(found) < MAX_COLLECTED else None
                if file is not None:
                    found[os.path.relpath(path, workspace)] = _end_of(file, limit)
    return found


def _end_of(file: IO[bytes], limit: int) -> str:
    with file:
        # A character has four bytes at most.
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4 * limit))
        return file.read(4 * limit).decode("utf-8", "replace")[-limit:]


def _digest(handle: int, found: os.stat_result) -> bytes:
    if not stat.S_ISREG(found.st_mode) or found.st_size >= HASHED_BYTES:
        return b""
    try:
        with _open(handle) as file:
            return hashlib.blake2b(file.read(HASHED_BYTES), digest_size=16).digest()
    except OSError:
        return b""
