"""What the parts of the mask have in common: a masked part of a text."""

from __future__ import annotations

#: Start, end, kind.
Span = tuple[int, int, bytes]


def line_end(text: bytes, position: int) -> int:
    """Where the line at `position` ends, its newline excluded."""
    end = text.find(b"\n", position)
    return len(text) if end < 0 else end
