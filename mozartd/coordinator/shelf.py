"""The files of the logs, beneath the coordinator's feet: what is there, compressing and removing it.

Every step leaves a log that can be read: what takes the place of a segment is whole, and on disk, before the segment goes,
and within one log the oldest goes first. So a crash between two steps leaves a file too many, never one too few, and `scan`
finds it. Called in one thread, by `keeper`; nothing here decides.
"""

from __future__ import annotations

import os
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress

import orjson

from ipc.segments import GONE, LOG, PACKED, parse_name, path_of
from mozartd.coordinator.packed import blocks, pack
from mozartd.coordinator.reading import look
from mozartd.coordinator.retention import CRASH, TEMPORARY, AttemptLog, Piece


def scan(logs: str) -> list[AttemptLog]:
    """Every attempt's log, as it is now."""
    return [log for entry in _directories(logs) for log in _scan_job(entry)]


def _directories(logs: str) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(logs) as entries:
        yield from (entry for entry in entries if entry.is_dir(follow_symlinks=False))


def _scan_job(directory: os.DirEntry[str]) -> Iterator[AttemptLog]:
    pieces: dict[tuple[int, int], list[Piece]] = defaultdict(list)
    # A job may be forgotten while it is looked at.
    with suppress(FileNotFoundError), os.scandir(directory.path) as entries:
        for entry in entries:
            name = parse_name(entry.name.removesuffix(TEMPORARY))
            if name is None:
                continue
            kind = name.kind if not entry.name.endswith(TEMPORARY) else TEMPORARY
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    pieces[name.sheet, name.k].append(Piece(name.start, kind, found.st_size, found.st_mtime))
    for (sheet, k), found_pieces in pieces.items():
        yield AttemptLog(directory.name, sheet, k, tuple(sorted(found_pieces)))


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
    if not link.why:
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
    """Remove what a crash left between two steps."""
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
