"""The format of an attempt's log: CRI, as kubelet writes it and Fluent Bit, Vector and Promtail read it.

    2026-11-23T02:15:06.123456789Z stdout F a whole line
    2026-11-23T02:15:06.123456789Z stderr P the first part of a long or unfinished line

Workers write it (`workers.log`), the coordinator cuts it at record ends, the CLI reads it. `P` means that the line goes on in
the stream's next record; a line's last part is `F`, but for output that ends without a newline: its last record stays `P`.
Content is bytes, not text: whatever the agent wrote, minus the newline.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

#: Bytes of content in one record, at most; longer lines are cut into P parts, so that a reader's window always holds one.
MAX_CONTENT = 64 * 1024
#: Bytes of one record at most: content, time, stream, tag, newline.
MAX_RECORD = MAX_CONTENT + 64

STDOUT = b"stdout"
STDERR = b"stderr"
STREAMS = ("stdout", "stderr")


class Record(NamedTuple):
    """One record. `time` as written (RFC 3339, nanoseconds, UTC); `content` without the newline."""

    time: bytes
    stream: bytes
    full: bool
    content: bytes


def timestamp(nanoseconds: int) -> bytes:
    """RFC 3339 with nine digits, UTC, of a time since the epoch."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return b"%s.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), rest)


def parse(record: bytes) -> Record:
    """One record without its newline. Raises ValueError for what is no CRI record."""
    try:
        when, stream, tag, content = record.split(b" ", 3)
    except ValueError:
        raise ValueError(f"not a CRI record: {record[:80]!r}") from None
    return Record(when, stream, tag != b"P", content)


def read(record: bytes) -> Record:
    """The same of a log that somebody may have written into: what is no record is a line as it stands, of no time."""
    parts = record.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in (STDOUT, STDERR):
        return Record(b"", STDOUT, True, record)
    return Record(parts[0], parts[1], parts[2] != b"P", parts[3])


def records(block: bytes) -> Iterator[Record]:
    """The records of a block that ends where a record ends."""
    for line in block.split(b"\n"):
        if line:
            yield read(line)
