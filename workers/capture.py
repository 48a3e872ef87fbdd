"""One attempt's output, from the agent's pipes to the attempt's log.

Reads what is there, in big blocks, as soon as the loop says so, and so little of a stream per turn that a flood in one
attempt leaves the worker's other attempts and its socket their turns. Each block is masked, stored, and only then shown to
the backend's parser; nobody watching, nothing is sent. Never raises into the loop: a log that cannot be written becomes
`error`. Made by `workers.attempt`, one for each attempt.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from backends.base import STDERR, STDOUT, Event, Parser, PatientParser
from ipc import blame, cri, segments
from workers.log import Buffer, Log, encode
from workers.mask import Mask, MaskStream, Text, whole
from workers.pipe import Pipe
from workers.spool import Spool
from workers.tail import Lines, Tail
from workers.terminal import Terminal

log = logging.getLogger("mozart.worker")

#: Read at once, and per stream and turn of the loop: half a millisecond's work. Smaller blocks cost more calls (64 KiB: a
#: third of the speed), larger ones only time for the others.
BLOCK_BYTES = 512 * 1024
#: How long an unfinished line waits for its end before it is shown as it is.
UNFINISHED_SECONDS = 0.05
#: Seconds after which what was printed last is looked at, and bytes of that.
LOOK_SECONDS, LOOK_BYTES = 0.1, 2000
#: While a watched log grows, it is said at most this often.
GREW_SECONDS = 0.002
#: What `tail` can give at most, unless asked for more.
TAIL_BYTES = 16 * 1024
STDERR_TAIL_BYTES = 16 * 1024
NEWLINE = ord("\n")


@dataclass(slots=True, eq=False)
class Stream:
    """One of the attempt's output streams: where it comes from and what is held of it."""

    name: str
    label: bytes
    """The name, as records have it."""
    source: Pipe | Spool | Terminal | None
    """None when it has ended."""
    mask: MaskStream
    tail: Tail
    lines: Lines | None
    """None when the parser does not want this stream: nothing is split."""
    held_since: float = 0.0
    timer: asyncio.TimerHandle | None = None
    mid_line: bool = False
    """The last record was a part."""
    unseen: int = 0
    """Bytes that came since it was last looked at."""


class Growth:
    """Says that something grew, as the log does: at once, then at most every so many seconds while it goes on."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tell: Callable[[], None], seconds: float = GREW_SECONDS
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._more = False

    def note(self) -> None:
        if self._timer is not None:
            self._more = True
            return
        self._tell()
        self._timer = self._loop.call_later(self._seconds, self._again)

    def _again(self) -> None:
        self._timer = None
        if self._more:
            self._more = False
            self.note()

    def stop(self) -> None:
        """Say what was not said yet, and no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._more:
            self._more = False
            self._tell()


class Capture:
    """`attach` the agent's pipes; after its end `drain`, ask for the tails, `sync`, and `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log_path: str,
        mask: Mask,
        parser: Parser | None,
        on_event: Callable[[Event], None],
        on_grew: Callable[[int], None],
        *,
        on_error: Callable[[OSError], None] | None = None,
        tail_bytes: int = TAIL_BYTES,
        segment_bytes: int = segments.SEGMENT_BYTES,
        on_segment: Callable[[int], None] = lambda start: None,
        who: str = "",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock or loop.time
        self._who = who
        self.on_line: Callable[[str, bytes], None] | None = None
        """Told of each line that the parser was fed with, too."""
        self._log = Log(log_path, segment_bytes, on_segment)
        self._mask = mask
        self._parser = parser
        self._parser_failed = False
        self._look = parser.look if isinstance(parser, PatientParser) else None
        self._looking: asyncio.TimerHandle | None = None
        self._on_event = on_event
        self._on_error = on_error
        self._growth = Growth(loop, lambda: on_grew(self._log.size))
        self._watched = False
        self._tails = {STDOUT: Tail(tail_bytes), STDERR: Tail(STDERR_TAIL_BYTES)}
        self._streams: list[Stream] = []
        self.error: OSError | None = None
        """Why nothing is stored any more. Told to `on_error` once, so that the agent can be stopped."""
        self.bytes = 0
        """What the agent wrote, before masking."""
        self.lines = 0
        self.last_output = self._clock()
        """On `clock`, the loop's own unless another is given."""

    def __repr__(self) -> str:
        return f"<Capture {self.bytes} bytes, {self.lines} lines, log {self.size}>"

    # ---- what the attempt asks -------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """The log's bytes over all segments, up to the end of the last whole record."""
        return self._log.size

    @property
    def watched(self) -> bool:
        return self._watched

    @watched.setter
    def watched(self, watched: bool) -> None:
        self._watched = watched
        if watched:
            # What was stored while the request was on its way must not wait for the next line.
            self._growth.note()

    def tail(self, count: int) -> str:
        """The last bytes of stdout, as text; `tail_bytes` at most."""
        return self._tails[STDOUT].last(count).decode("utf-8", "replace")

    @property
    def stderr_tail(self) -> str:
        return self._tails[STDERR].last(STDERR_TAIL_BYTES).decode("utf-8", "replace")

    # ---- the agent's output ----------------------------------------------------------------------------------------

    def attach(self, name: str, fd: int) -> None:
        """Read a pipe from now on. The descriptor is ours to close."""
        self._open(name, Pipe(fd))

    def attach_terminal(self, name: str, fd: int) -> None:
        """Read our end of a pseudo-terminal from now on. The descriptor is ours to close."""
        self._open(name, Terminal(fd))

    def attach_spool(self, name: str, path: str) -> None:
        """Follow a file made by `spool.open_spool`; it is removed at the end."""
        self._open(name, Spool(path))

    def _open(self, name: str, source: Pipe | Spool | Terminal) -> None:
        wants = self._parser is not None and name in self._parser.wants
        stream = Stream(name, name.encode(), source, self._mask.stream(), self._tails[name], Lines() if wants else None)
        self._streams.append(stream)
        self._loop.add_reader(source.fd, self._read, stream)

    def drain(self) -> None:
        """Take what the agent left, now that it has ended, and settle unfinished lines. Nothing is read after this.

        Leftover children may hold a pipe and write on, so this neither waits for its end nor reads more than is in it now.
        """
        for stream in self._streams:
            left = stream.source.left() if stream.source else 0
            while left > 0 and (count := self._read(stream, min(left, BLOCK_BYTES))):
                left -= count
            self._end(stream)

    async def sync(self) -> None:
        """Put the log on disk, if something was written since the last time."""
        await self._log.sync()
        self._note_error(self._log.error)

    def close(self) -> None:
        """Give back every descriptor. What was read is kept; what was not is lost: `drain` first."""
        if self._looking is not None:
            self._looking.cancel()
        for stream in self._streams:
            self._end(stream)
        self._growth.stop()
        self._log.close()

    # ---- reading ---------------------------------------------------------------------------------------------------

    def _read(self, stream: Stream, most: int = BLOCK_BYTES) -> int:
        """How many bytes were read; at the end of the source the stream ends."""
        if stream.source is None:
            return 0
        before = blame.put(self._who)
        try:
            return self._read_marked(stream, most, stream.source)
        finally:
            blame.put(before)

    def _read_marked(self, stream: Stream, most: int, source: Pipe | Spool | Terminal) -> int:
        try:
            chunk = source.read(most)
            if chunk:
                self._take(stream, chunk)
                return len(chunk)
        except OSError as error:
            self._note_error(error)
            chunk = b""
        except MemoryError:
            # What was read may be half stored: an attempt whose log has a hole must not end well.
            self._note_error(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
            chunk = b""
        if chunk is not None:
            self._end(stream)
        return 0

    def _end(self, stream: Stream) -> None:
        """Nothing is read any more, and what was held is settled."""
        if stream.source is None:
            return
        self._loop.remove_reader(stream.source.fd)
        stream.source.close()
        stream.source = None
        if stream.timer is not None:
            stream.timer.cancel()
            stream.timer = None
        self._store(stream, [whole(stream.mask.finish())])
        if stream.mid_line:
            self.lines += 1
        if stream.lines is not None:
            self._parse(stream, stream.lines.finish())

    # ---- the way of a block ----------------------------------------------------------------------------------------

    def _take(self, stream: Stream, chunk: bytes) -> None:
        self.bytes += len(chunk)
        self.last_output = self._clock()
        texts = stream.mask.sift(chunk)
        self._store(stream, texts)
        if self._look is not None:
            stream.unseen += len(chunk)
            if self._looking is None:
                self._looking = self._loop.call_later(LOOK_SECONDS, self._look_back)
        if not stream.mask.holds:
            stream.held_since = 0.0
            return
        if texts or not stream.held_since:
            stream.held_since = self._loop.time()
        if stream.timer is None:
            stream.timer = self._loop.call_later(UNFINISHED_SECONDS, self._show_unfinished, stream)

    def _show_unfinished(self, stream: Stream) -> None:
        """An agent that asks something, or prints a dot for each step, does not end its line; people want to see it."""
        stream.timer = None
        if not stream.mask.holds:
            return
        wait = stream.held_since + UNFINISHED_SECONDS - self._loop.time()
        if wait > 0.001:
            # Lines ended since the timer was set: what is held now is younger.
            stream.timer = self._loop.call_later(wait, self._show_unfinished, stream)
            return
        self._store(stream, [whole(stream.mask.hasten())])

    def _store(self, stream: Stream, texts: list[Text]) -> None:
        now = cri.timestamp(time.time_ns())
        records: list[Buffer] = []
        for block, start, stop in texts:
            if stop > start:
                buffers, lines = encode(stream.label, now, block, start, stop)
                records += buffers
                self.lines += lines
                stream.mid_line = block[stop - 1] != NEWLINE
                stream.tail.add(block, start, stop)
        if records and self._log.append(records):
            if self._watched:
                self._growth.note()
        else:
            self._note_error(self._log.error)
        if stream.lines is not None:
            for block, start, stop in texts:
                self._parse(stream, stream.lines.feed(block[start:stop]))

    def _parse(self, stream: Stream, lines: list[bytes]) -> None:
        assert self._parser is not None
        for line in lines:
            try:
                events = self._parser.feed(stream.name, line)
            except Exception:
                # An edge: agents print what nobody foresaw, and one odd line must not cost the attempt its result, nor the
                # worker its life.
                self._note_broken(stream, len(line))
                continue
            for event in events:
                self._on_event(event)
            if self.on_line is not None:
                self.on_line(stream.name, line)

    def _look_back(self) -> None:
        """Who waits for something has said so last: what a flood has brought meanwhile is of no interest."""
        self._looking = None
        assert self._look is not None
        for stream in self._streams:
            count, stream.unseen = min(stream.unseen, LOOK_BYTES), 0
            if not count:
                continue
            try:
                events = self._look(stream.name, stream.tail.last(count).decode("utf-8", "replace"))
            except Exception:
                # The same edge.
                self._note_broken(stream, count)
                continue
            for event in events:
                self._on_event(event)

    def _note_broken(self, stream: Stream, count: int) -> None:
        """Said once, in the daemon's log: the attempt's log is what the agent wrote."""
        if not self._parser_failed:
            log.exception("cannot parse a line of %s (%d bytes), going on without it", stream.name, count)
        self._parser_failed = True

    def _note_error(self, error: OSError | None) -> None:
        if error is not None and self.error is None:
            self.error = error
            if self._on_error is not None:
                self._on_error(error)
