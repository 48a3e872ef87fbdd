"""Showing logs that were made to be slow to show: what looks like records' heads, lines in pieces, two streams in turns.

Each is held against its own first quarter: what is linear takes four times as long, what is quadratic sixteen times.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from cli.lines import ALL, Plain, Prefixed, Selection, Text
from cli.writers import TextWriter, no_prefix, no_renderer
from ipc import cri
from ipc.messages import Chunk
from tests.bench import MB, Row

BYTES = 16 * MB
ROUNDS = 3
#: How much longer four times as much may take.
REACH = 6.0
SHORT = {"BYTES": MB, "ROUNDS": 1}

WINDOW = 256 * 1024
_TIME = cri.timestamp(1_796_000_000_000_000_000)


def record(content: bytes, stream: bytes = b"stdout", tag: bytes = b"F") -> bytes:
    return b" ".join((_TIME, stream, tag, content)) + b"\n"


#: What an agent may print, each as a block that is repeated.
HOSTILE = {
    "heads of P records": record(b" stdout P "),
    "CRI logs": record(_TIME + b" stderr P x") + record(b"y", b"stderr"),
    "one line of heads": record(b" stdout P " * 6000),
    "bytes one by one": record(b"x", tag=b"P"),
    "two streams in turns": record(b"x", tag=b"P") + record(b"y", b"stderr", b"P"),
    "an open line beside lines": record(b"x", tag=b"P") + record(b"y", b"stderr") * 1000,
    "carriage returns": record(b"x" * 60_000 + b"\r"),
    "beginnings of sequences": record(b"\x1b[" * 30_000),
    "half a sequence": record(b"\x1b]0;" + b"x" * 60_000, tag=b"P"),
}


def chunks(block: bytes, size: int) -> Iterator[Chunk]:
    """About `size` bytes of log, as the coordinator sends it."""
    whole = block * max(WINDOW // len(block), 1)
    for offset in range(0, size, len(whole)):
        yield {
            "subscription": 1, "job": "song-1", "sheet": 1, "attempt": 1, "offset": offset,
            "end": offset + len(whole), "backend": "command", "text": whole.decode(),
        }  # fmt: skip


def seconds(block: bytes, size: int, selection: Selection, raw: bool) -> float:
    """CPU time to show it: the machine may have others to serve."""
    sink = Plain(exact=True) if raw else Prefixed(no_prefix)
    writer = TextWriter(Text(no_renderer, selection), sink, raw=raw)
    given = list(chunks(block, size))
    begin = time.process_time()
    for chunk in given:
        writer.feed(chunk)
    writer.finish()
    return time.process_time() - begin


def measure() -> list[Row]:
    return [row(f"{name}{' --raw' * raw}", block, raw) for name, block in HOSTILE.items() for raw in (False, True)]


def row(name: str, block: bytes, raw: bool) -> Row:
    short = min(seconds(block, BYTES // 4, ALL, raw) for _ in range(ROUNDS))
    whole = min(seconds(block, BYTES, ALL, raw) for _ in range(ROUNDS))
    ratio = whole / short
    rate = f"{BYTES / MB / whole:,.0f} MB/s"
    return Row(name, f"{rate}, ×{ratio:.1f}", "a quarter of it: ×1", f"≤ ×{REACH:g}", ratio, ratio <= REACH)
