"""Looking for a text or a pattern in a file, through its descriptor. Runs in a process that can be given up, because a pattern
that backtracks for ever holds the interpreter it runs in; a plain text in a small file is looked for at once.

Called by `validate`.
"""

from __future__ import annotations

import os
import re

#: Files up to this size are read at once, in the loop.
SMALL_BYTES = 1024 * 1024

_PLAIN = re.compile(r"[A-Za-z0-9 _/:;,!\"'@%&<>=~`#-]*\Z")


def contains(text: str, descriptor: int, block_bytes: int = SMALL_BYTES) -> bool:
    """Whether the file holds this text; any size in little memory."""
    wanted = text.encode("utf-8", "surrogateescape")
    kept = b""
    # No further than it goes now: something may write faster than we read.
    left = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)  # Where another process that was given up may have read on.
    while left > 0 and (block := os.read(descriptor, min(block_bytes, left))):
        left -= len(block)
        window = kept + block
        if wanted in window:
            return True
        kept = window[-(len(wanted) - 1) :] if len(wanted) > 1 else b""
    return not wanted


def matches(pattern: str, descriptor: int) -> bool:
    """Whether `re` finds the pattern in the file, read as UTF-8."""
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        data = file.read(os.fstat(descriptor).st_size)
    return re.search(pattern, data.decode("utf-8", "replace")) is not None


def is_plain(pattern: str) -> bool:
    """Whether the pattern means its own letters, and nothing else."""
    return _PLAIN.match(pattern) is not None
