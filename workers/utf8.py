"""Where UTF-8 may be cut. Used wherever a line is stored in pieces; bytes that are not UTF-8 are cut anywhere."""

from __future__ import annotations


def border(text: bytes, end: int) -> int:
    """`end`, or up to three bytes before it where a character would be cut."""
    for start in range(end - 1, max(end - 4, -1), -1):
        byte = text[start]
        if byte < 0x80:
            return end
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4 if byte < 0xF8 else 1
            return start if start + length > end else end
    return end
