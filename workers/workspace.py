"""The directory an attempt works on: making it, staying inside it, remembering it, collecting from it.

Called by `attempt` (prepare, remember, collect) and `validate` (confine, open_file, has_changed).
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

from ipc import files
from ipc.errors import MozartError
from workers import machine

#: Files up to this size are compared by content as well.
HASHED_BYTES = 1024 * 1024
#: Files collected for later sheets, at most.
MAX_COLLECTED = 200
#: Entries of directories looked at for them, at most.
MAX_ENTRIES = 100_000


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
        raise MozartError(
            "E601", sentence, "give the daemon's user write permission, or choose another with `--workspace`"
        )


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
    with _hold(path, workspace) as held:
        try:
            return open(files.reopen(held), "rb")
        except files.NotRegularError:
            return None


@contextlib.contextmanager
def _hold(path: str, workspace: str) -> Iterator[int]:
    """What the path leads to at this moment, whatever became of it since it was confined."""
    with files.hold(path) as held:
        confine(files.place_of(held), workspace)
        yield held


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


def collect(patterns: Iterable[str], workspace: str, limit: int, most: int = MAX_ENTRIES) -> tuple[dict[str, str], str]:
    """path (from the workspace) → the last `limit` characters of each file that matches, in order; and what was left out."""
    found: dict[str, str] = {}
    walk = Walk(workspace, most)
    for pattern in patterns:
        for path in sorted(walk.files(pattern)):
            # Outside, unreadable, or gone meanwhile: as if it did not match.
            with contextlib.suppress(MozartError, OSError):
                file = open_file(path, workspace) if len(found) < MAX_COLLECTED else None
                if file is not None:
                    found[os.path.relpath(path, workspace)] = _end_of(file, limit)
    return found, f"only the first {most:,} entries of {workspace} were looked at" if walk.left <= 0 else ""


class Walk:
    """The files that patterns name, in a bounded number of steps. Wildcards do not lead through links: with two of them that
    lead upward, a tree has no end. A link that the pattern names is followed, as far as it stays inside."""

    def __init__(self, workspace: str, most: int) -> None:
        self._workspace = workspace.rstrip("/")
        self.left = most
        self._seen: set[tuple[str, int]] = set()

    def files(self, pattern: str) -> Iterator[str]:
        for root in (self._workspace, os.path.realpath(self._workspace)):
            pattern = pattern.removeprefix(root + "/")
        self._seen = set()
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        parts = [part for i, part in enumerate(parts) if part != "**" or parts[i - 1 : i] != ["**"]]
        # Whatever else is absolute lies outside.
        return self._below(self._workspace, parts) if parts and not pattern.startswith("/") else iter(())

    def _below(self, start: str, parts: list[str]) -> Iterator[str]:
        """A stack instead of recursion: depth is for the agent to choose."""
        stack = [(start, 0)]
        while stack and self.left > 0:
            directory, n = stack.pop()
            if (directory, n) in self._seen:
                continue
            self._seen.add((directory, n))
            if not glob.has_magic(parts[n]):
                path = os.path.join(directory, parts[n])
                self.left -= 1
                if n + 1 == len(parts):
                    yield path
                elif self._is_inside(path):
                    stack.append((path, n + 1))
                continue
            deep = parts[n] == "**"
            if deep and n + 1 < len(parts):
                stack.append((directory, n + 1))
            for entry in self._entries(directory, parts[n]):
                is_directory = entry.is_dir(follow_symlinks=False)
                if is_directory and (deep or n + 1 < len(parts)):
                    stack.append((entry.path, n if deep else n + 1))
                elif not is_directory and n + 1 == len(parts):
                    yield entry.path

    def _entries(self, directory: str, pattern: str) -> Iterator[os.DirEntry[str]]:
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                self.left -= 1
                if self.left <= 0:
                    return
                if fnmatch.fnmatchcase(entry.name, pattern) and (pattern.startswith(".") or entry.name[0] != "."):
                    yield entry

    def _is_inside(self, path: str) -> bool:
        with contextlib.suppress(MozartError, OSError):
            return bool(confine(path, self._workspace))
        return False


def _end_of(file: IO[bytes], limit: int) -> str:
    with file:
        # A character has four bytes at most.
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4 * limit))
        return file.read(4 * limit).decode("utf-8", "replace")[-limit:]


def _digest(held: int, found: os.stat_result) -> bytes:
    if not stat.S_ISREG(found.st_mode) or found.st_size >= HASHED_BYTES:
        return b""
    try:
        descriptor = files.reopen(held)
        try:
            return hashlib.blake2b(os.read(descriptor, HASHED_BYTES), digest_size=16).digest()
        finally:
            os.close(descriptor)
    except OSError:
        return b""
