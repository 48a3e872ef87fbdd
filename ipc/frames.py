"""Framing: a 4-byte big-endian length, then one JSON object.

Sans-I/O: `FrameDecoder` eats bytes and gives objects, however they are cut. Used by `client` (blocking) and `connection`
(asyncio). The cap is read before the body, so an oversized frame costs its reader nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import orjson

#: Bytes in the body of a frame, at most.
MAX_FRAME = 16 * 1024 * 1024
#: Bytes from which a frame is large; and commas in a large one, at most: a value of two bytes costs its reader a hundred.
LARGE, MAX_COMMAS = 64 * 1024, 1_000_000

Frame = dict[str, Any]


class FrameError(Exception):
    """The peer does not speak our framing. Its connection ends; nobody else notices."""


def encode_frame(frame: Frame) -> bytes:
    """Raises FrameError when the body is over MAX_FRAME; TypeError when it is not JSON."""
    body = orjson.dumps(frame)
    if len(body) > MAX_FRAME:
        raise FrameError(f"cannot send a frame of {len(body)} bytes: the cap is {MAX_FRAME}")
    return len(body).to_bytes(4, "big") + body


class FrameDecoder:
    """Cuts a stream of bytes into frames. `feed` any amount; it yields what is complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._counted = self._commas = 0
        """Of a large frame: bytes looked at, and the commas in them."""

    def __repr__(self) -> str:
        return f"<FrameDecoder {len(self._buffer)} bytes waiting>"

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Frame]:
        self.take(data)
        while (frame := self.next()) is not None:
            yield frame

    def take(self, data: bytes | bytearray | memoryview) -> None:
        self._buffer += data

    def next(self) -> Frame | None:
        """The next frame of what was taken; None when it is not there in full."""
        if len(self._buffer) < 4:
            return None
        end = 4 + self._body_length()
        if end > LARGE:
            self._count_commas(end)
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            frame = _decode(view[4:end])
        del self._buffer[:end]
        self._counted = self._commas = 0
        return frame

    @property
    def pending(self) -> int:
        """Bytes taken that no frame was made of yet."""
        return len(self._buffer)

    def _count_commas(self, end: int) -> None:
        """As they come: counting those of a whole frame at its end would keep everybody else waiting."""
        new = self._buffer[self._counted : end]
        self._counted += len(new)
        # Without its commas it is so much shorter: in text, four times as fast as `count`.
        self._commas += len(new) - len(new.translate(None, b","))
        if self._commas > MAX_COMMAS:
            raise FrameError(f"cannot read a frame with {self._commas} commas: the cap is {MAX_COMMAS}")

    def _body_length(self) -> int:
        length = int.from_bytes(self._buffer[:4], "big")
        if length > MAX_FRAME:
            raise FrameError(f"cannot read a frame of {length} bytes: the cap is {MAX_FRAME}")
        return length


def _loads_large(body: memoryview) -> Any:
    # JSON has no cycles, but looking for them in the middle of a large frame takes five times as long as reading it.
    was_on = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        if was_on:
            gc.enable()


def _decode(body: memoryview) -> Frame:
    try:
        with body:
            frame = _loads_large(body) if len(body) > LARGE else orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise FrameError(f"cannot read a frame that is not JSON: {error}") from None
    if not isinstance(frame, dict):
        raise FrameError(f"cannot read a frame that is a {type(frame).__name__}, not an object")
    return frame
