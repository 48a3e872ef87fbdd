"""The asyncio end of a socket, for daemon processes: frames in, frames out, one connection's trouble is its own.

`Connection` decodes as bytes arrive and calls `on_frame` for each; a frame error closes it after one sentence to the peer.
Who may connect, what a frame means and what to do about a lost peer are the caller's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from ipc import PROTOCOL, VERSION
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


class Connection(asyncio.Protocol):
    """One peer. `send` never blocks; `drained` waits until the peer has taken most of what was sent."""

    #: Bytes waiting to be sent above which `drained` waits, and below which it goes on.
    HIGH, LOW = 1024 * 1024, 256 * 1024

    def __init__(self, on_frame: OnFrame, on_lost: OnLost, on_made: Callable[[Connection], None] | None = None) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_made = on_made
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None
        self._room: asyncio.Future[None] | None = None
        self._paused = False
        self._hung_up = False
        self.lost = False

    def __repr__(self) -> str:
        return f"<Connection {'lost' if self.lost else 'open'}, {self.unsent} bytes unsent>"

    @property
    def unsent(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport and not self.lost else 0

    @property
    def peer(self) -> Peer:
        """Who made the connection; the kernel vouches for it (SO_PEERCRED)."""
        assert self._transport is not None
        peer = cast("socket.socket", self._transport.get_extra_info("socket"))
        pid, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return Peer(pid, uid)

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
        if self._transport is not None and not self.lost and not self._hung_up:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self.lost and not self._hung_up:
            self._transport.resume_reading()

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

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                # What came in the same read as the frame for which we hung up is not for us any more.
                if self._hung_up or self.lost:
                    return
                self._on_frame(self, frame)
        except FrameError as error:
            self.refuse(str(error))

    def refuse(self, sentence: str) -> None:
        """Tell the peer why, and hang up."""
        self.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": sentence}})
        self.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._wake()
        self._on_lost(self)

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None
