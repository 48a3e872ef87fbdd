"""The files of the logs, beneath the coordinator's feet: what is there, compressing and removing it.

Every step leaves a log that can be read: what takes the place of a segment is whole, and on disk, before the segment goes,
and within one log the oldest goes first. So a crash between two steps leaves a file too many, never one too few, and `scan`
finds it. Removes nothing whose name is not one that Mozart gives. Called in one thread, by `keeper`; nothing here decides.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import orjson

from ipc import marks
from ipc.segments import GONE, LOG, PACKED, Name, parse_name, path_of
from mozartd.coordinator.packed import blocks, pack
from mozartd.coordinator.reading import look
from mozartd.coordinator.retention import CRASH, TEMPORARY, AttemptLog, Piece

_BESIDE = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})(\.prompt|\.log\.spool|\.system)")
#: What a job's name ends with, whatever is made of the job.
_NUMBER = re.compile(r"-([0-9]{1,9})(?:\.|$)")
#: Files whose names are held at once: a job may have a million.
PART_FILES = 20_000


def jobs(logs: str) -> list[str]:
    """Whose logs are there, by the names of their directories."""
    with suppress(FileNotFoundError), os.scandir(logs) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def highest_number(logs: str) -> int:
    """Of all the jobs that have left something there."""
    with suppress(OSError), os.scandir(logs) as entries:
        return max((int(found[1]) for entry in entries if (found := _NUMBER.search(entry.name))), default=0)
    return 0


def scan(logs: str, job: str, part_files: int = PART_FILES) -> Iterator[AttemptLog]:
    """A job's logs as they are now, in parts where there are many. What is no part of a log is not among them."""
    # A job may be forgotten while it is looked at; and what a link leads to is not ours.
    with suppress(FileNotFoundError, NotADirectoryError), _opened(logs, job) as directory:
        with os.scandir(directory) as entries:
            parts = sum(1 for _ in entries) // part_files + 1
        for part in range(parts):
            yield from _scan_part(directory, job, part, parts)


def _scan_part(directory: int, job: str, part: int, parts: int) -> Iterator[AttemptLog]:
    pieces: dict[tuple[int, int], list[Piece]] = defaultdict(list)
    with os.scandir(directory) as entries:
        for entry in entries:
            name = _parse(entry.name)
            if name is None or (name.sheet + name.k) % parts != part:
                continue
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    pieces[name.sheet, name.k].append(Piece(name.start, name.kind, found.st_size, found.st_mtime))
    for (sheet, k), found_pieces in pieces.items():
        yield AttemptLog(job, sheet, k, tuple(sorted(found_pieces)))


def _parse(name: str) -> Name | None:
    """Of a file that Mozart made beside or for a log."""
    if beside := _BESIDE.fullmatch(name):
        return Name(int(beside[1]), int(beside[2]), 0, beside[3])
    found = parse_name(name.removesuffix(TEMPORARY))
    return found._replace(kind=TEMPORARY) if found and name.endswith(TEMPORARY) else found


def remove(logs: str, job: str, stopped: Callable[[], bool]) -> None:
    """All that Mozart made for a job; the directory too, unless somebody else has put something there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        with _opened(logs, job) as directory:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if stopped():
                        return
                    if _parse(entry.name) and not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.name, dir_fd=directory)
            left = os.listdir(directory)
            if left not in ([], [marks.LOGS]):
                return
            if left:
                os.unlink(marks.LOGS, dir_fd=directory)
        os.rmdir(os.path.join(logs, job))


def is_marked(logs: str, job: str) -> bool:
    """Whether that directory is ours for certain, whoever knows of the job."""
    with _opened(os.path.dirname(logs), os.path.basename(logs)) as parent:
        return marks.read_mark(job, marks.LOGS, parent) is not None


def adopt(logs: str, job: str) -> None:
    """Mark the directory of a job that is known: an earlier version made it, and set no marks."""
    with suppress(OSError), _opened(logs, job) as directory:
        marks.put_mark(directory, job, marks.LOGS, job)


@contextmanager
def _opened(parent: str, name: str) -> Iterator[int]:
    fd = os.open(os.path.join(parent, name), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def compress(log: str, start: int, rest: Callable[[float], bool]) -> bool:
    """Put a compressed segment in the place of a plain one. `rest` is told how long each block took, and may say that this
    is enough: then, and when the segment grew all the same, everything stays as it was. Whether it was done."""
    plain, packed = path_of(log, start), path_of(log, start, PACKED)
    source = os.open(plain, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        before = os.fstat(source)
        try:
            done = _write_packed(source, before.st_size, packed + TEMPORARY, rest)
            if not done or os.fstat(source).st_size != before.st_size:
                os.unlink(packed + TEMPORARY)
                return False
            os.utime(packed + TEMPORARY, ns=(before.st_mtime_ns, before.st_mtime_ns))
        except OSError:
            with suppress(OSError):
                os.unlink(packed + TEMPORARY)
            raise
    finally:
        os.close(source)
    os.rename(packed + TEMPORARY, packed)
    _sync_directory(packed)
    os.unlink(plain)
    return True


def _write_packed(source: int, size: int, path: str, rest: Callable[[float], bool]) -> bool:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(target, "wb", buffering=0) as file:
        for block in blocks(source, size):
            began = time.monotonic()
            _write_all(file.fileno(), pack(block, size))
            if rest(time.monotonic() - began):
                return False
        os.fsync(file.fileno())
    return True


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def drop(log: str, starts: tuple[int, ...], why: str) -> None:
    """Remove these segments, the first ones of a log, and leave word of it."""
    link = look(log, starts[-1])
    if link is None:
        return
    if (not link.why or link.is_lost) and link.end > 0:
        leave_word(log, 0, link.end, why)
    for start in starts:
        for kind in (LOG, PACKED, GONE) if start else (LOG, PACKED):
            with suppress(FileNotFoundError):
                os.unlink(path_of(log, start, kind))


def leave_word(log: str, start: int, end: int, why: str) -> None:
    """Say that the bytes [start, end) are gone."""
    path = path_of(log, start, GONE)
    target = os.open(path + TEMPORARY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(target, "wb", buffering=0) as file:
        _write_all(file.fileno(), orjson.dumps({"end": end, "why": why}))
        os.fsync(file.fileno())
    os.rename(path + TEMPORARY, path)
    _sync_directory(path)


def mend(log: str, segment: int, start: int, end: int) -> None:
    """Leave word of a hole behind a segment, if it is one: the segment may have been growing when it was looked at."""
    found = look(log, segment)
    if found is not None and found.end == start and look(log, start) is None:
        leave_word(log, start, end, CRASH)


def tidy(log: str, piece: Piece) -> None:
    """Remove what a crash left between two steps, or what belongs to a log that is gone."""
    with suppress(FileNotFoundError):
        if piece.kind == TEMPORARY:
            for kind in (PACKED, GONE):
                with suppress(FileNotFoundError):
                    os.unlink(path_of(log, piece.start, kind) + TEMPORARY)
        else:
            os.unlink(path_of(log, piece.start, piece.kind))


def _sync_directory(path: str) -> None:
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
