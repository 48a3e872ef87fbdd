"""A compressed segment: gzip members of whole records, each small enough to be read at once.

`zcat` reads it as any other. Each member's header says in its extra field how long the member is, compressed and not, and
how long the whole segment is; so an offset is found by hopping from header to header, one look says where the segment ends,
and reading on from anywhere costs what is read. Used by `shelf`, which writes, and `reading`.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

#: Bytes of a log in one member, at most.
MEMBER_BYTES = 256 * 1024
#: 100 MB/s here, and nine bytes of an agent's log become one; 6 takes twice the time to make it ten.
LEVEL = 3

_MAGIC = b"\x1f\x8b\x08\x04"
#: gzip's header with one extra field, MZ: bytes of the member, bytes it holds, bytes that all members hold.
_HEAD = struct.Struct("<4sIBBH2sHIIQ")
_TAIL = struct.Struct("<II")
_EXTRA = (0, 0, 255, 20, b"MZ", 16)


class Head(NamedTuple):
    """Of one member."""

    packed: int
    """Bytes of the member in the file."""
    size: int
    """Bytes of the log it holds."""
    total: int
    """Bytes of the log in all members."""


class DamagedError(Exception):
    """These bytes are not what was written."""


def pack(block: bytes, total: int) -> bytes:
    """A member that holds `block`, one of those that together hold `total` bytes."""
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(block) + deflate.flush()
    head = _HEAD.pack(_MAGIC, *_EXTRA, _HEAD.size + len(body) + _TAIL.size, len(block), total)
    return head + body + _TAIL.pack(zlib.crc32(block), len(block))


def blocks(fd: int, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file in blocks for members, cut at record ends where there are any."""
    at = 0
    while at < size:
        block = os.pread(fd, min(MEMBER_BYTES, size - at), at)
        block = block[: block.rfind(b"\n") + 1] or block
        if not block:
            return
        yield block
        at += len(block)


def read_head(fd: int, position: int) -> Head | None:
    """Of the member at `position`; None at the file's end."""
    head = os.pread(fd, _HEAD.size, position)
    if not head:
        return None
    if len(head) < _HEAD.size or not head.startswith(_MAGIC):
        raise DamagedError
    *_, packed, size, total = _HEAD.unpack(head)
    if not 0 < size <= MEMBER_BYTES or not _HEAD.size < packed <= 2 * MEMBER_BYTES:
        raise DamagedError
    return Head(packed, size, total)


def unpack(fd: int, position: int, head: Head) -> bytes:
    """What the member at `position` holds."""
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        block = inflate.decompress(os.pread(fd, head.packed, position), head.size + 1)
    except zlib.error:
        raise DamagedError from None
    if len(block) != head.size or not inflate.eof:
        raise DamagedError
    return block
