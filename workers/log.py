"""One attempt's log: CRI records, appended in the order in which the worker read them, to segments one after the other.

Owned by `workers.capture`, the only writer. A segment ends at a record's end at all times, also after a full disk: what
could not be written whole is cut off again, the error is kept, and nothing more is stored. A segment is never renamed and
never written to again once there is a next one. Rendering, compressing and reading live elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence

from ipc import cri, marks, segments
from ipc.errors import MozartError
from ipc.threads import in_thread
from workers import utf8

Buffer = bytes | memoryview


class Log:
    """`size` is where the last whole record ends, counted over all segments; `error` why nothing is stored any more, or
    None. `on_segment` is told where a new segment begins."""

    def __init__(
        self,
        path: str,
        segment_bytes: int = segments.SEGMENT_BYTES,
        on_segment: Callable[[int], None] = lambda start: None,
    ) -> None:
        self._path, self._segment_bytes, self._on_segment = path, segment_bytes, on_segment
        marks.make_log_directory(os.path.dirname(os.path.abspath(path)))
        # Nobody else's log is ever written to: not an earlier job's of the same name, nor what a link leads to.
        self._fd = _open(path, os.O_EXCL)
        self._start = 0
        self.size = os.fstat(self._fd).st_size
        self.error: OSError | None = None
        self._synced = self.size
        self._retiring: set[asyncio.Task[None]] = set()

    def append(self, records: Sequence[Buffer]) -> bool:
        """Store whole records. False when they were not: `error` says why."""
        if self.error is not None:
            return False
        if self.size - self._start >= self._segment_bytes:
            self._begin_segment()
        try:
            write_all(self._fd, records)
        except OSError as error:
            self.error = error
            self._cut_torn_record(b"".join(records))
            return False
        self.size += sum(map(len, records))
        return True

    def _begin_segment(self) -> None:
        """Readers look for the next segment by this segment's end, so it may exist only when that does not move any more."""
        try:
            fd = _open(segments.path_of(self._path, self.size), os.O_EXCL)
        except OSError:
            # No descriptor or no inode to be had: a longer segment is better than no log. The next record tries again.
            return
        retiring = asyncio.ensure_future(_retire_aside(self._fd))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retired)
        self._fd, self._start = fd, self.size
        self._on_segment(self.size)

    def _retired(self, retiring: asyncio.Task[None]) -> None:
        self._retiring.discard(retiring)
        # Cancelled when the worker's loop ends.
        if not retiring.cancelled() and isinstance(error := retiring.exception(), OSError):
            self.error = self.error or error

    def _cut_torn_record(self, wanted: bytes) -> None:
        """Keep the whole records of what the disk has taken."""
        # Readers stop at the last newline, so a torn tail that cannot be cut off is ugly, not wrong.
        with contextlib.suppress(OSError):
            taken = os.fstat(self._fd).st_size - (self.size - self._start)
            self.size += wanted.rfind(b"\n", 0, taken) + 1
            os.ftruncate(self._fd, self.size - self._start)

    async def sync(self) -> None:
        """Put on disk what was appended. In a thread: a sync takes as long as the disk likes. Here when there is none."""
        if self._retiring:
            await asyncio.wait(self._retiring)
        if self._fd < 0 or self._synced == self.size or self.error is not None:
            return
        size = self.size
        try:
            try:
                await in_thread(os.fdatasync, self._fd)
            except MozartError:
                os.fdatasync(self._fd)
        except OSError as error:
            self.error = error
        else:
            self._synced = size

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open(path: str, more: int = 0) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | more, 0o600)


async def _retire_aside(fd: int) -> None:
    try:
        await in_thread(_retire, fd)
    except MozartError:
        _retire(fd)


def _retire(fd: int) -> None:
    """In a thread: a segment that is complete goes to disk and is closed."""
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, buffers: Sequence[Buffer]) -> None:
    size = sum(map(len, buffers))
    written = os.writev(fd, buffers)
    if written < size:
        # A nearly full disk takes a part, and says why at the next call.
        rest = memoryview(b"".join(buffers))[written:]
        while rest:
            rest = rest[os.write(fd, rest) :]


def encode(stream: bytes, when: bytes, block: bytes, start: int, stop: int) -> tuple[list[Buffer], int]:
    """The records of `block[start:stop]`, to be written one behind the other, and how many lines end there.

    `start` is 0 or behind the block's first newline, and no newline follows behind `stop`; a text that does not end with one
    ends with a part (P). The whole block takes one replace, and nothing else is copied: what surrounds the text is left out
    of what the replace made.
    """
    full = b"%s %s F " % (when, stream)
    if is_long(block, start, stop):
        return encode_long(full, block[start:stop])
    body = memoryview(block.replace(b"\n", b"\n" + full))
    lines = (len(body) - len(block)) // len(full) - (start > 0)
    end = block.rfind(b"\n", start, stop) + 1 or start
    # Behind each newline now stands `full`: of the text's first line before `start`, of what follows its last one before `end`.
    ahead, behind = start + len(full) * (start > 0), len(body) - (len(block) - end)
    buffers: list[Buffer] = [full, body[ahead : behind - len(full)]] if lines else []
    if stop > end:
        buffers += [full[:-2] + b"P ", body[behind : behind + stop - end], b"\n"]
    return buffers, lines


def is_long(block: bytes, start: int, stop: int) -> bool:
    """Whether some line there is longer than a record may be. Looks for one newline per window, not for every one."""
    while stop - start > cri.MAX_CONTENT:
        newline = block.rfind(b"\n", start, start + cri.MAX_CONTENT + 1)
        if newline < 0:
            return True
        start = newline + 1
    return False


def encode_long(full: bytes, text: bytes) -> tuple[list[Buffer], int]:
    """As `encode`, line by line, cutting the long ones."""
    part = full[:-2] + b"P "
    *lines, rest = text.split(b"\n")
    records: list[Buffer] = []
    for line in lines:
        *parts, last = pieces(line)
        records += [b"%s%s\n" % (part, piece) for piece in parts]
        records.append(b"%s%s\n" % (full, last))
    if rest:
        records += [b"%s%s\n" % (part, piece) for piece in pieces(rest)]
    return [b"".join(records)], len(lines)


def pieces(line: bytes) -> list[bytes]:
    """`line` in pieces a record may hold, at UTF-8 borders; at least one."""
    found = []
    start = 0
    while len(line) - start > cri.MAX_CONTENT:
        end = utf8.border(line, start + cri.MAX_CONTENT)
        found.append(line[start:end])
        start = end
    found.append(line[start:])
    return found
