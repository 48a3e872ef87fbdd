"""One attempt's output, from the agent's pipes to the attempt's log.

Reads what is there, in big blocks, as soon as the loop says so, at most one block of a stream per turn, so that a flood
in one attempt leaves the worker's other attempts and its socket their turns. Each block is masked, stored, and only
then shown to the backend's parser; nobody watching, nothing is sent. Never raises into the loop: a log that cannot be
written becomes `error`. Made by `workers.attempt` for each attempt; the way of a line is ARCHITECTURE.md's.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import struct
import termios
import time
from collections.abc import Callable

from backends.base import STDERR, STDOUT, Event, Parser
from ipc import cri
from workers.log import Log, encode
from workers.mask import Mask, MaskStream
from workers.spool import Spool
from workers.tail import Lines, Tail

log = logging.getLogger("mozart.worker")

#: What a pipe may hold, at most, without privileges: agents that exit with a full pipe lose their last lines.
PIPE_BYTES = 1024 * 1024
#: Read at once.
BLOCK_BYTES = 256 * 1024
#: How long an unfinished line waits for its end before it is shown as it is.
UNFINISHED_SECONDS = 0.05
#: While a watched log grows, it is said at most this often.
GREW_SECONDS = 0.002
STDERR_TAIL_BYTES = 16 * 1024


class Stream:
    """One of the attempt's output streams: where it comes from and what is held of it."""

    def __init__(self, name: str, mask: MaskStream, tail: Tail, lines: Lines | None) -> None:
        self.name = name
        self.mask = mask
        self.tail = tail
        self.lines = lines
        """None when the parser does not want this stream: nothing is split."""
        self.pipe: int | None = None
        self.spool: Spool | None = None
        self.held_since = 0.0
        self.timer: asyncio.TimerHandle | None = None


class Growth:
    """Says that the log grew: at once, then at most every GREW_SECONDS while it goes on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._more = False

    def note(self) -> None:
        if self._timer is not None:
            self._more = True
            return
        self._tell()
        self._timer = self._loop.call_later(GREW_SECONDS, self._again)

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
                self._tell()


class Capture:
    """`attach` the agent's pipes; after its exit `drain`, ask for the tails, `sync`, and `close`."""

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
        tail_bytes: int = 10240,
    ) -> None:
        self._loop = loop
        self._log = Log(log_path)
        self._mask = mask
        self._parser = parser
        self._on_event = on_event
        self._on_error = on_error
        self._growth = Growth(loop, lambda: on_grew(self._log.size))
        self._watched = False
        self._parser_failed = False
        self._tails = {STDOUT: Tail(tail_bytes), STDERR: Tail(max(tail_bytes, STDERR_TAIL_BYTES))}
        self._streams: list[Stream] = []
        self.bytes = 0
        self.lines = 0
        self.last_output = loop.time()

    # ---- what the attempt asks -------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """The log's bytes, up to the last whole record."""
        return self._log.size

    @property
    def error(self) -> OSError | None:
        """Why nothing is stored any more."""
        return self._log.error

    @property
    def watched(self) -> bool:
        return self._watched

    @watched.setter
    def watched(self, watched: bool) -> None:
        self._watched = watched
        if watched:
            # What was stored before the request came must not wait for the next line.
            self._growth.note()

    def tail(self, count: int) -> str:
        """The last bytes of stdout, as text."""
        return self._tails[STDOUT].last(count).decode("utf-8", "replace")

    @property
    def stderr_tail(self) -> str:
        return self._tails[STDERR].last(STDERR_TAIL_BYTES).decode("utf-8", "replace")

    # ---- the agent's output ----------------------------------------------------------------------------------------

    def attach(self, name: str, fd: int) -> None:
        """Read a pipe from now on. The descriptor is ours, and closed by us."""
        with contextlib.suppress(OSError):
            # Refused when the user's pipes take too much kernel memory already; then it is a smaller pipe.
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(fd, False)
        stream = self._stream(name)
        stream.pipe = fd
        self._loop.add_reader(fd, self._on_pipe, stream)

    def attach_spool(self, name: str, path: str) -> None:
        """Follow a file made by `spool.open_spool` from its beginning; it is removed at the end."""
        stream = self._stream(name)
        stream.spool = Spool(path)
        self._loop.add_reader(stream.spool.fd, self._on_spool, stream, stream.spool)
        self._read_spool(stream, stream.spool)

    def drain(self) -> None:
        """Take what the agent left, now that it has ended, and settle unfinished lines. Nothing is read after this.

        Leftover children may hold a pipe and go on writing, so this neither waits for its end nor reads more than is in
        it now.
        """
        for stream in self._streams:
            if stream.pipe is not None:
                self._drain_pipe(stream, stream.pipe)
            if stream.spool is not None:
                self._drain_spool(stream, stream.spool)
            self._finish(stream)

    async def sync(self) -> None:
        """Put the log on disk, if something was written since the last time."""
        await self._log.sync()
        self._tell_error()

    def close(self) -> None:
        """Give back every descriptor. What was read is settled; what was not is lost: `drain` first."""
        for stream in self._streams:
            self._finish(stream)
        self._growth.stop()
        self._log.close()

    def _stream(self, name: str) -> Stream:
        wants = self._parser is not None and name in self._parser.wants
        stream = Stream(name, self._mask.stream(), self._tails[name], Lines() if wants else None)
        self._streams.append(stream)
        return stream

    # ---- reading ---------------------------------------------------------------------------------------------------

    def _on_pipe(self, stream: Stream) -> None:
        assert stream.pipe is not None
        try:
            chunk = os.read(stream.pipe, BLOCK_BYTES)
        except BlockingIOError:
            return
        if chunk:
            self._take(stream, chunk)
        else:
            self._finish(stream)

    def _drain_pipe(self, stream: Stream, pipe: int) -> None:
        left = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
        while left > 0:
            chunk = os.read(pipe, min(left, BLOCK_BYTES))
            self._take(stream, chunk)
            left -= len(chunk)

    def _on_spool(self, stream: Stream, spool: Spool) -> None:
        spool.acknowledge()
        self._read_spool(stream, spool)

    def _read_spool(self, stream: Stream, spool: Spool) -> None:
        if stream.spool is not spool:
            return
        chunk = spool.read(BLOCK_BYTES)
        if chunk:
            self._take(stream, chunk)
            # There may be more, but the others come first.
            self._loop.call_soon(self._read_spool, stream, spool)

    def _drain_spool(self, stream: Stream, spool: Spool) -> None:
        left = spool.left()
        while left > 0:
            chunk = spool.read(min(left, BLOCK_BYTES))
            if not chunk:
                break
            self._take(stream, chunk)
            left -= len(chunk)

    def _finish(self, stream: Stream) -> None:
        """The stream's end: nothing is read any more, and what was held is settled."""
        if stream.pipe is None and stream.spool is None:
            return
        if stream.pipe is not None:
            self._loop.remove_reader(stream.pipe)
            os.close(stream.pipe)
            stream.pipe = None
        if stream.spool is not None:
            self._loop.remove_reader(stream.spool.fd)
            stream.spool.close()
            stream.spool = None
        if stream.timer is not None:
            stream.timer.cancel()
            stream.timer = None
        self._store(stream, stream.mask.finish())
        if stream.lines is not None:
            self._parse(stream, stream.lines.finish())

    # ---- the way of a block ----------------------------------------------------------------------------------------

    def _take(self, stream: Stream, chunk: bytes) -> None:
        self.bytes += len(chunk)
        self.last_output = self._loop.time()
        text = stream.mask.feed(chunk)
        if text:
            self._store(stream, text)
        if stream.mask.holds:
            if text or not stream.held_since:
                stream.held_since = self.last_output
            if stream.timer is None:
                stream.timer = self._loop.call_later(UNFINISHED_SECONDS, self._show_unfinished, stream)
        else:
            stream.held_since = 0.0

    def _show_unfinished(self, stream: Stream) -> None:
        """An agent that asks a question or shows a dot per step does not end its lines; people want to see them."""
        stream.timer = None
        if not stream.mask.holds:
            return
        wait = stream.held_since + UNFINISHED_SECONDS - self._loop.time()
        if wait > 0.001:
            stream.timer = self._loop.call_later(wait, self._show_unfinished, stream)
            return
        self._store(stream, stream.mask.hasten())

    def _store(self, stream: Stream, text: bytes) -> None:
        if not text:
            return
        records, lines = encode(stream.name.encode(), cri.timestamp(time.time_ns()), text)
        self.lines += lines
        stream.tail.add(text)
        if self._log.append(records):
            if self._watched:
                self._growth.note()
        else:
            self._tell_error()
        if stream.lines is not None:
            self._parse(stream, stream.lines.feed(text))

    def _parse(self, stream: Stream, lines: list[bytes]) -> None:
        assert self._parser is not None
        for line in lines:
            try:
                events = self._parser.feed(stream.name, line)
            except Exception:
                # An edge: agents print what nobody foresaw, and one odd line must not cost the attempt its result, nor
                # the worker its life. Said once, in the worker's own log: the attempt's log is what the agent wrote.
                if not self._parser_failed:
                    log.exception("cannot parse a line of %s (%d bytes): skipping it", stream.name, len(line))
                self._parser_failed = True
                continue
            for event in events:
                self._on_event(event)

    def _tell_error(self) -> None:
        if self._log.error is not None and self._on_error is not None:
            tell, self._on_error = self._on_error, None
            tell(self._log.error)
