"""The asyncio end of a socket, for daemon processes: frames in, frames out, one connection's trouble is its own.

`Connection` decodes as bytes arrive and calls `on_frame` for each; a frame error closes it after one sentence to the peer.
Who may connect, what a frame means and what to do about a lost peer are the caller's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from ipc import PROTOCOL, VERSION
from ipc.bounds import PeerBounds
from ipc.frames import Frame, FrameDecoder, FrameError, encode_frame

OnFrame = Callable[["Connection", Frame], None]
OnLost = Callable[["Connection"], None]


def hello(role: str, **more: Any) -> Frame:
    return {"type": "hello", "protocol": PROTOCOL, "version": VERSION, "role": role, "pid": os.getpid(), **more}


def hello_problem(frame: Frame, peer: str) -> str:
    """Why this first frame cannot be worked with; empty when it can. `peer` names the sender in the sentence."""
    if frame.get("type") != "hello":
        return f"cannot talk to this {peer}: its first frame is not a hello"
    if frame.get("protocol") != PROTOCOL:
        return (
            f"cannot talk to this {peer}: it is version {frame.get('version')} (protocol {frame.get('protocol')}), "
            f"this is version {VERSION} (protocol {PROTOCOL})"
        )
    return ""


class Peer(NamedTuple):
    pid: int
    uid: int


def peer_of(connected: socket.socket) -> Peer:
    """Who made the connection; the kernel vouches for it (SO_PEERCRED)."""
    option = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", option)
    return Peer(pid, uid)


class Connection(asyncio.Protocol):
    """One peer. `send` never blocks; `drained` waits until the peer has taken most of what was sent.

    `bounds` are those of the process; `on_large` is told how many seconds of this thread each large read took until its frames
    were handed on.
    """

    #: Bytes waiting to be sent above which `drained` waits, and below which it goes on.
    HIGH, LOW = 1024 * 1024, 256 * 1024
    #: Bytes of a read up to which nobody counts what it costs.
    SMALL = 16 * 1024

    def __init__(
        self,
        on_frame: OnFrame,
        on_lost: OnLost,
        on_made: Callable[[Connection], None] | None = None,
        bounds: PeerBounds | None = None,
        on_large: Callable[[float], None] | None = None,
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_made = on_made
        self._bounds = bounds
        self._on_large = on_large
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None
        self._room: asyncio.Future[None] | None = None
        self._paused = False
        self._held = False
        self._handing_on = False
        self._hung_up = False
        self._on_last: Callable[[], None] | None = None
        self.was_refused = False
        """It was told why we hang up."""
        self.lost = False

    def __repr__(self) -> str:
        return f"<Connection {'lost' if self.lost else 'open'}, {self.unsent} bytes unsent>"

    @property
    def unsent(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport and not self.lost else 0

    @property
    def peer(self) -> Peer:
        assert self._transport is not None
        return peer_of(cast("socket.socket", self._transport.get_extra_info("socket")))

    def send(self, frame: Frame) -> None:
        """Queue a frame; dropped when the peer is gone (its `on_lost` was or will be called)."""
        self.send_bytes(encode_frame(frame))

    def send_bytes(self, data: bytes) -> None:
        """Queue frames that are encoded already."""
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    async def drained(self) -> None:
        """Return when the peer has room, or is lost."""
        while self._paused and not self.lost:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def pause_reading(self) -> None:
        """Read nothing more, and hand on nothing more of what was read."""
        if self._transport is not None and not self.lost and not self._hung_up and not self._held:
            self._held = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is None or self.lost or self._hung_up or not self._held:
            return
        self._held = False
        if not self._handing_on:
            self._hand_on()
        # What was there may have been enough to be paused again.
        if not self._held and not self._hung_up:
            self._transport.resume_reading()

    def end_reading(self, on_last: Callable[[], None]) -> None:
        """Take what the peer has sent until now, then call `on_last`. What it sends from here on fails there, so that it
        knows that nobody has it."""
        assert self._transport is not None
        self._on_last = on_last
        connected = self._transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(connected.fileno())) as copy:
            try:
                copy.shutdown(socket.SHUT_RD)
            except OSError:
                # It is gone already.
                self.abort()

    def close(self) -> None:
        """Send what is queued, then hang up."""
        self._hung_up = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        self._hung_up = True
        if self._transport is not None and not self.lost:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self.HIGH, low=self.LOW)
        if self._on_made is not None:
            self._on_made(self)

    def eof_received(self) -> bool:
        """Whether there is still something to say."""
        if self._on_last is None:
            return False
        self._on_last()
        return True

    def data_received(self, data: bytes) -> None:
        if self._held and self._transport is not None:
            # Paused before the transport had begun to read: it did not hear of that.
            self._transport.pause_reading()
        if self._on_large is None or len(data) <= self.SMALL:
            self._take(data)
            return
        begin = time.thread_time()
        self._take(data)
        self._on_large(time.thread_time() - begin)

    def _take(self, data: bytes) -> None:
        try:
            self._decoder.take(data)
            self._hand_on()
        except MemoryError:
            self.refuse("cannot take what you sent: there is no memory for it")

    def _hand_on(self) -> None:
        """What is there in full, until somebody pauses it. What came with the frame for which we hung up is not for us."""
        self._handing_on = True
        try:
            while not self._held and not self._hung_up and not self.lost:
                frame = self._decoder.next()
                if frame is None:
                    break
                self._on_frame(self, frame)
        except FrameError as error:
            self.refuse(str(error))
        finally:
            self._handing_on = False
        if self._bounds is not None and not self._held:
            if self._decoder.pending and not self._hung_up:
                self._bounds.half(self, self._decoder.pending)
            else:
                self._bounds.whole(self)

    def refuse(self, sentence: str) -> None:
        """Tell the peer why, and hang up."""
        self.was_refused = True
        self._decoder = FrameDecoder()
        self.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": sentence}})
        self.close()

    def pause_writing(self) -> None:
        self._paused = True
        if self._bounds is not None:
            self._bounds.behind(self)

    def resume_writing(self) -> None:
        self._paused = False
        if self._bounds is not None:
            self._bounds.caught_up(self)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._decoder = FrameDecoder()
        if self._bounds is not None:
            self._bounds.lost(self)
        self._wake()
        self._on_lost(self)

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None
