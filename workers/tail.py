"""The end of what was printed, and whole lines for a parser: two small memories fed with blocks. Pure."""

from __future__ import annotations

from collections import deque

#: A parser gets this much of a longer line.
LONGEST_LINE = 4 * 1024 * 1024


class Tail:
    """The last `most` bytes of a stream. Keeps the last blocks as they came and cuts only when asked."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._blocks: deque[bytes] = deque()
        self._held = 0

    def add(self, block: bytes, start: int, stop: int) -> None:
        """Add `block[start:stop]`."""
        if stop - start >= self.most:
            self._blocks.clear()
            self._held = 0
            start = stop - self.most
        block = block[start:stop]
        self._blocks.append(block)
        self._held += len(block)
        while self._held - len(self._blocks[0]) >= self.most:
            self._held -= len(self._blocks.popleft())
        if len(self._blocks) > 64:
            # Many tiny blocks would cost more than what is in them.
            self._blocks = deque([self.last(self.most)])
            self._held = len(self._blocks[0])

    def last(self, count: int) -> bytes:
        held = b"".join(self._blocks)
        return held[max(len(held) - min(count, self.most), 0) :]


class Lines:
    """Cuts a stream into lines, each cut to its first `LONGEST_LINE` bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, block: bytes) -> list[bytes]:
        """The lines that end in this block, without their newlines."""
        lines = block.split(b"\n")
        if len(lines) > 1 and self._parts:
            self._keep(lines[0])
            lines[0] = self._take()
        self._keep(lines.pop())
        return lines if not any(len(line) > LONGEST_LINE for line in lines) else [ln[:LONGEST_LINE] for ln in lines]

    def finish(self) -> list[bytes]:
        """The last line, if it never ended."""
        return [self._take()] if self._parts else []

    def _keep(self, part: bytes) -> None:
        room = LONGEST_LINE - self._length
        if part and room:
            self._parts.append(part[:room])
            self._length += len(self._parts[-1])

    def _take(self) -> bytes:
        line = b"".join(self._parts)
        self._parts.clear()
        self._length = 0
        return line
