"""How long a loop keeps others waiting, sampled from outside it: for benches; nobody imports it otherwise.

A thread asks the loop for a sign, again and again. Where the sign is given, in the loop, it is written down how late it came
(wall time), and how much processor time the loop's own thread has used since the sign before. Between two signs the loop has
waited at least once, so that time is at least what any step of it took, and at most the sampler's interval more. The figures
are in a file that is mapped, so a bench reads them without a word to the process.
"""

from __future__ import annotations

import asyncio
import math
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

#: The directory for the files; without it nothing is sampled.
VARIABLE = "MOZART_DEBUG_LAG"
#: Seconds between two signs.
INTERVAL = 0.005
#: Of the histogram of lags: a bucket is an eighth of a power of two of microseconds.
BUCKETS, PER_OCTAVE = 256, 8

_HEAD = struct.Struct("<QQ")
_BUCKET = struct.Struct("<Q")
_SIZE = _HEAD.size + BUCKETS * _BUCKET.size


class Lag(NamedTuple):
    """Seconds."""

    cpu: float
    """Of the loop's thread between two waits, at most."""
    wall: float
    """The lag that 999 of 1,000 signs do not exceed."""


def begin(name: str, loop: asyncio.AbstractEventLoop) -> None:
    """Sample this loop until its process ends."""
    path = os.path.join(os.environ[VARIABLE], f"{name}.{os.getpid()}")
    with open(path, "w+b") as file:
        file.truncate(_SIZE)
        page = mmap.mmap(file.fileno(), _SIZE)
    threading.Thread(target=_sample, args=(loop, page), name="lag", daemon=True).start()


def read(paths: Iterable[str]) -> Lag | None:
    """What some processes have written, as if they were one; None: nothing."""
    most, counts = 0, [0] * BUCKETS
    for path in paths:
        with open(path, "rb") as file:
            data = file.read(_SIZE)
        most = max(most, _HEAD.unpack_from(data)[0])
        counts = [a + b for (a, (b,)) in zip(counts, _BUCKET.iter_unpack(data[_HEAD.size :]), strict=True)]
    if not sum(counts):
        return None
    wanted = sum(counts) * 0.999
    bucket = next(bucket for bucket, seen in enumerate(accumulate(counts)) if seen >= wanted)
    return Lag(most / 1e9, 2.0 ** ((bucket + 1) / PER_OCTAVE) / 1e6)


def _sample(loop: asyncio.AbstractEventLoop, page: mmap.mmap) -> None:
    given = threading.Event()
    used: int | None = None
    asked = 0

    def sign() -> None:
        nonlocal used
        now = time.thread_time_ns()
        lag = time.monotonic_ns() - asked
        most, signs = _HEAD.unpack_from(page)
        # The first one would count what came before the loop.
        _HEAD.pack_into(page, 0, max(most, now - used if used is not None else 0), signs + 1)
        at = _HEAD.size + _BUCKET.size * min(BUCKETS - 1, int(PER_OCTAVE * math.log2(lag / 1000 + 1)))
        _BUCKET.pack_into(page, at, _BUCKET.unpack_from(page, at)[0] + 1)
        used = now
        given.set()

    # Never set: it goes with its process.
    over = threading.Event()
    while not over.wait(INTERVAL):
        given.clear()
        asked = time.monotonic_ns()
        try:
            loop.call_soon_threadsafe(sign)
        except RuntimeError:
            return  # The loop is closed.
        given.wait()
