"""A mark on an attempt's processes that neither setsid, nor an empty environment, nor a second fork takes off.

It is a number in a resource limit that bounds real-time processes alone, so large that it bounds none of them: children
inherit it for ever, and anybody may read it. Set in the worker for the moment of a start, so that there is no moment at which
a child has it not. Who sets that limit himself sheds it: `stop` knows other ways. Called by `spawn` and `stop`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
from collections.abc import Iterator

#: A day has 8.64e10 microseconds.
_BASE, _ATTEMPTS = 1 << 60, 1 << 24
_LINE = b"Max realtime timeout"
_numbers = itertools.count(1)


def new() -> int:
    """For an attempt of this process."""
    return _first() + next(_numbers) % _ATTEMPTS


def is_ours(tag: int | None) -> bool:
    """Whether it was made in this process."""
    return tag is not None and _first() <= tag < _first() + _ATTEMPTS


def _first() -> int:
    return _BASE + os.getpid() * _ATTEMPTS


@contextlib.contextmanager
def worn(tag: int) -> Iterator[None]:
    """What is started within has it. Nothing, where somebody has set that limit lower for all of us."""
    before = resource.getrlimit(resource.RLIMIT_RTTIME)
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (tag, before[1]))
    except (OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_RTTIME, before)


def of(pid: int) -> int | None:
    """The tag of a process; None when it has none, or is gone."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            line = next((line for line in file if line.startswith(_LINE)), b"")
    except OSError:
        return None
    words = line.removeprefix(_LINE).split()
    return int(words[0]) if words and words[0].isdigit() else None
