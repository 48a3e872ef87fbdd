"""Looking for a text or a pattern in a file. Also a program: `python match.py PATTERN < FILE`.

As a program it is a process that can be killed: a pattern that backtracks for ever holds the interpreter it runs in.
Imports nothing of ours. Called by `validate`.
"""

from __future__ import annotations

import re
import sys
from typing import IO

#: Files up to this size are read at once, in the loop.
SMALL_BYTES = 1024 * 1024
#: A pattern with one repetition visits at most the square of this.
QUICK_BYTES = 8 * 1024

FOUND, NOT_FOUND, BROKEN = 0, 1, 2

_REPETITION = re.compile(r"[*+?{]")


def contains(file: IO[bytes], text: str, block_bytes: int = SMALL_BYTES) -> bool:
    """Whether the file holds this text; any size in little memory."""
    wanted = text.encode()
    kept = b""
    while block := file.read(block_bytes):
        window = kept + block
        if wanted in window:
            return True
        kept = window[-(len(wanted) - 1) :] if len(wanted) > 1 else b""
    return not wanted


def matches(file: IO[bytes], pattern: str) -> bool:
    """Whether `re` finds the pattern in the file, read as UTF-8."""
    return re.search(pattern, file.read().decode("utf-8", "replace")) is not None


def is_quick(pattern: str, size: int) -> bool:
    """Whether matching cannot take long: linear, or quadratic over little."""
    repetitions = len(_REPETITION.findall(pattern))
    return size <= SMALL_BYTES if repetitions == 0 else repetitions == 1 and size <= QUICK_BYTES


def main() -> int:
    (pattern,) = sys.argv[1:]
    try:
        return FOUND if matches(sys.stdin.buffer, pattern) else NOT_FOUND
    except (OSError, re.error) as error:
        print(error, file=sys.stderr)
        return BROKEN


if __name__ == "__main__":
    sys.exit(main())
