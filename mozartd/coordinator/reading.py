"""Reading one attempt's log at logical offsets, whatever its segments are by now: growing, complete, compressed, gone.

A `LogReader` holds one segment open at a time. What is removed or compressed while it is read is read on: the descriptor
keeps it. Gives whole records only. Files are opened without following links and without waiting, and looked at by their
descriptor; what is no segment, or not the one that was written, is a link that is `lost`, and what lies behind it is read on.
Used by followers and by `requests/logs`; knows nothing of what records mean.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import orjson

from ipc import cri
from ipc.cri import MAX_RECORD, STREAMS
from ipc.segments import GONE, LOG, PACKED, UNMASKED, Link, end_of, links, parse_name, path_of, seek
from mozartd.coordinator.packed import DamagedError, Head, read_head, unpack
from mozartd.coordinator.retention import CRASH

#: Bytes read at a time; holds at least one record of any length.
WINDOW = 256 * 1024
assert WINDOW >= 2 * MAX_RECORD

TORN = "cut off by a crash"
DAMAGED = "damaged on disk"
MISSING = "missing: somebody else has removed it"
#: Bytes of a word about what is gone, at most.
MOST_GONE = 4096
#: No log ends behind it.
FARTHEST = 1 << 62


class Plain:
    """A segment as its writer left it, or is writing it."""

    def __init__(self, fd: int, start: int) -> None:
        self._fd, self.start = fd, start

    def end(self) -> int:
        return self.start + os.fstat(self._fd).st_size

    def is_in_place(self) -> bool:
        """Neither compressed nor removed yet. Then those behind it are not either."""
        return os.fstat(self._fd).st_nlink > 0

    def read(self, offset: int) -> bytes:
        return os.pread(self._fd, WINDOW, offset - self.start)

    def read_backwards(self) -> Iterator[tuple[bytes, int]]:
        """All of it: (bytes, offset of the first), the last first."""
        at = os.fstat(self._fd).st_size
        while at > 0:
            step = min(at, WINDOW)
            at -= step
            yield os.pread(self._fd, step, at), self.start + at

    def close(self) -> None:
        os.close(self._fd)


class Packed:
    """A compressed segment."""

    def __init__(self, fd: int, start: int) -> None:
        self._fd, self.start = fd, start
        self._member, self._member_start = 0, start
        head = read_head(fd, 0)
        if head is None or not 0 < head.total < FARTHEST:
            raise DamagedError  # Nobody compresses nothing.
        self._total = head.total

    def end(self) -> int:
        return self.start + self._total

    def is_in_place(self) -> bool:
        """Those behind it may be compressed, too."""
        return False

    def read(self, offset: int) -> bytes:
        """From there to the end of its member."""
        if offset < self._member_start:
            self._member, self._member_start = 0, self.start
        while (head := read_head(self._fd, self._member)) is not None:
            if offset < self._member_start + head.size:
                return unpack(self._fd, self._member, head)[offset - self._member_start :]
            self._member += head.packed
            self._member_start += head.size
        if offset < self.end():
            raise DamagedError  # Cut short.
        return b""

    def read_backwards(self) -> Iterator[tuple[bytes, int]]:
        members: list[tuple[int, int, Head]] = []
        position, offset = 0, self.start
        while (head := read_head(self._fd, position)) is not None:
            members.append((position, offset, head))
            position += head.packed
            offset += head.size
        for position, offset, head in reversed(members):
            yield unpack(self._fd, position, head), offset

    def close(self) -> None:
        os.close(self._fd)


Segment = Plain | Packed


def open_segment(log: str, start: int) -> Segment | None:
    """The segment that begins there; None when there is none. Plain first: its compressed twin is complete before it goes.
    Raises DamagedError when there is something else."""
    damaged = False
    for kind, form in ((LOG, Plain), (PACKED, Packed)):
        try:
            fd = open_regular(path_of(log, start, kind))
        except DamagedError:
            damaged = True
            continue
        if fd is None:
            continue
        try:
            return form(fd, start)
        except (DamagedError, OSError):
            os.close(fd)
            damaged = True
    if damaged:
        raise DamagedError
    return None


def open_regular(path: str) -> int | None:
    """None when nothing is there. Raises DamagedError when it is no file that we may read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # Ours to bear, and over in a moment.
        raise DamagedError from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise DamagedError
    return fd


def look(log: str, start: int) -> Link | None:
    """What the chain of a log has from there on."""
    try:
        segment = open_segment(log, start)
        if segment is None:
            return _read_gone(log, start)
        try:
            return Link(start, segment.end())
        finally:
            segment.close()
    except DamagedError:
        return Link(start, next_start(log, start) or start, DAMAGED, is_lost=True)


def _read_gone(log: str, start: int) -> Link | None:
    """Raises DamagedError when it says nothing that can be."""
    fd = open_regular(path_of(log, start, GONE))
    if fd is None:
        return None
    try:
        gone = orjson.loads(os.read(fd, MOST_GONE))
    except ValueError:
        raise DamagedError from None
    finally:
        os.close(fd)
    if not isinstance(gone, dict) or not isinstance(end := gone.get("end"), int) or not start < end < FARTHEST:
        raise DamagedError
    why = str(gone.get("why") or CRASH)
    return Link(start, end, why, is_lost=why == CRASH)


def next_start(log: str, behind: int) -> int | None:
    """Where the first segment begins that lies behind this one; by the names in the directory, because the chain is broken."""
    return min((start for start in _starts(log) if start > behind), default=None)


def _starts(log: str) -> list[int]:
    stem = os.path.basename(log).removesuffix(LOG) + "."
    with suppress(OSError), os.scandir(os.path.dirname(log)) as entries:
        names = [parse_name(entry.name) for entry in entries if entry.name.startswith(stem)]
        return [name.start for name in names if name is not None and name.kind != UNMASKED]
    return []


def log_end(log: str) -> int:
    return end_of(partial(look, log))


def known_end(written: int | None) -> float:
    """1 says only that there is something: of an attempt whose worker was lost, or of an earlier version."""
    return written if written is not None and written > 1 else math.inf


class LogReader:
    """`log` is the path of its first segment. `expected`: where it ended when its writer closed it; None: nobody knows, or it
    goes on."""

    def __init__(self, log: str) -> None:
        self._log = log
        self._segment: Segment | None = None
        self.expected: int | None = None

    def read(self, offset: int) -> bytes | Link:
        """The next whole records; nothing where there is nothing more now; a link with its why for bytes that are gone. A link
        that is lost and has no end is the last that can be said of a log."""
        try:
            found = self._read(offset)
        except (DamagedError, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            found = self._damaged(offset)
        return found or self._missing(offset)

    def _read(self, offset: int) -> bytes | Link:
        if self._segment is None:
            gone = self._find(offset)
            if gone is not None:
                return gone
        while self._segment is not None:
            data = self._segment.read(offset)
            # What somebody added behind the end is none of the agent's.
            data = data[: self._left(offset)]
            whole = data[: data.rfind(b"\n") + 1]
            if whole:
                return whole
            beyond = self._go_on(self._segment, offset)
            if beyond is not True:
                return beyond or b""
        return b""

    def _left(self, offset: int) -> int | None:
        end = known_end(self.expected)
        return None if end == math.inf else max(0, int(end) - offset)

    def _damaged(self, offset: int) -> Link:
        """What can be read again lies in another segment, if anywhere."""
        self.close()
        return Link(offset, max(offset, next_start(self._log, offset) or self.expected or 0), DAMAGED, is_lost=True)

    def _missing(self, offset: int) -> bytes | Link:
        """Nothing is there: whether something should be."""
        if self.expected is None or offset >= self.expected:
            return b""
        self.close()
        return Link(offset, next_start(self._log, offset) or self.expected, MISSING, is_lost=True)

    def _go_on(self, segment: Segment, offset: int) -> Link | bool:
        """Whether there is a next segment, which is open then."""
        end = segment.end()
        if offset < end:
            if look(self._log, end) is None:
                return False  # A record that is being written now.
            # Complete, for there is a next segment. What was written since we read is read now.
            return b"\n" in segment.read(offset) or Link(offset, end, TORN, is_lost=True)
        if offset <= segment.start:
            return False  # Its writer has only just begun it.
        if offset == end and segment.is_in_place():
            if self._open(offset):
                return True
            # Asked again: both may have been removed between the two questions.
            if segment.is_in_place():
                return _read_gone(self._log, offset) or False
        # Its twin or its place is found by walking, and so is where a reader is that got what others had read.
        found = self._find(offset)
        return found or self._segment is not segment

    def _find(self, offset: int) -> Link | None:
        """Open the segment that holds the offset, if there is one. The link, when that is gone."""
        while (link := self._seek(offset)) is not None:
            if link.why:
                return Link(offset, link.end, link.why, link.is_lost)
            # It may have been removed between look and open: then its place says so.
            if self._open(link.start):
                break
        return None

    def _seek(self, offset: int) -> Link | None:
        link = seek(partial(look, self._log), offset)
        if link is not None or self.expected is None or offset >= self.expected:
            return link
        # What came before it may be missing.
        start = max((start for start in _starts(self._log) if start <= offset), default=None)
        link = look(self._log, start) if start is not None else None
        return link if link is not None and offset < link.end else None

    def _open(self, start: int) -> bool:
        segment = open_segment(self._log, start)
        if segment is None:
            return False
        self.close()
        self._segment = segment
        return True

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None


# ---- from the end ---------------------------------------------------------------------------------------------------


def tail_starts(log: str, lines: int, stream: str = "", upto: float = math.inf) -> dict[str, int]:
    """Where of each stream the last `lines` lines of a log begin; 0 when there never were so many, or those are gone.

    Lines are those of one stream when one is named, else of both, in the order in which they ended. One that has no end yet
    counts where its last part stands; what lies behind `upto`, where its writer closed it, does not. So what is wanted of a
    stream is what lies behind its start, and nothing else is.
    """
    chain = list(links(partial(look, log)))
    # What lies before a gap does not count: nobody can say how many lines that has.
    bottom = max((n + 1 for n, link in enumerate(chain) if link.why), default=0)
    first = chain[bottom].start if bottom < len(chain) else 0
    found = _Lines(lines, [stream] if stream else list(STREAMS))
    for record, end in _records_backwards(log, chain[bottom:], first):
        if end <= upto and not found.take(record, end):
            return found.starts()
    return found.starts() if found.left == 0 and chain[bottom:] else dict.fromkeys(STREAMS, 0)


class _Lines:
    """Lines that are found from the end of a log, record by record."""

    def __init__(self, wanted: int, streams: list[str]) -> None:
        self.left = wanted
        self._streams = streams
        self._end: int | None = None
        self._starts: dict[str, int] = {}
        self._seen: set[str] = set()
        self._open: set[str] = set()
        """Streams of whose earliest line that is wanted the beginning may come yet."""

    def take(self, record: bytes, end: int) -> bool:
        """Whether more is needed."""
        self._end = end if self._end is None else self._end
        read = cri.read(record)
        name = read.stream.decode()
        if name in self._streams:
            self._take(name, read.full, end - len(record) - 1)
        return self.left > 0 or bool(self._open)

    def _take(self, name: str, full: bool, begin: int) -> None:
        if full or name not in self._seen:
            self._seen.add(name)
            self._open.discard(name)
            if self.left == 0:
                return
            self.left -= 1
            self._open.add(name)
        if name in self._open:
            self._starts[name] = begin

    def starts(self) -> dict[str, int]:
        return {name: self._starts.get(name, self._end or 0) for name in STREAMS}


def _records_backwards(log: str, chain: list[Link], first: int) -> Iterator[tuple[bytes, int]]:
    """(record, offset of its end), the last first."""
    rest: bytes | None = None
    for data, position in _blocks_backwards(log, chain):
        # What is behind the last newline is torn by a crash or being written: no record.
        block = data[: data.rfind(b"\n") + 1] if rest is None else data + rest
        # The block's first record may have begun earlier: it is looked at again with what comes before it.
        cut = block.find(b"\n") + 1 if position > first else 0
        rest, end = block[:cut], position + len(block)
        for record in reversed(block[cut:].split(b"\n")[:-1]):
            yield record, end
            end -= len(record) + 1


def _blocks_backwards(log: str, chain: list[Link]) -> Iterator[tuple[bytes, int]]:
    """(bytes, offset of the first), the last first."""
    for link in reversed(chain):
        try:
            segment = open_segment(log, link.start)
        except DamagedError:
            return
        if segment is None:
            return
        try:
            yield from segment.read_backwards()
        except (DamagedError, OSError):
            return
        finally:
            segment.close()
