"""What a process is at, in memory that outlives it: whom to blame when it dies or stands still.

A worker writes the attempt, a coordinator the job, for as long as its loop works on it and on nothing else. Whoever buries the
process reads that, and does not suspect those who only ran beside it. A few hundred nanoseconds, so also on hot paths.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
from collections.abc import Coroutine, Generator, Iterator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: Bytes of one process's slot, and slots: the coordinator's is the first, workers take turns.
SLOT_BYTES, SLOTS = 128, 512
COORDINATOR = 0

_memory: mmap.mmap | None = None
_start = 0
_now = ""


def new_slots() -> int:
    descriptor = os.memfd_create("mozart-slots", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, SLOT_BYTES * SLOTS)
    return descriptor


def slot_of(worker: str) -> int:
    """Of the worker with this name, `<boot>-<number>-<incarnation>`."""
    return 1 + int(worker.rpartition("-")[2]) % (SLOTS - 1)


def begin(descriptor: int, slot: int) -> None:
    """This process's own, from now on. Without memory to write to, nobody is blamed."""
    global _memory, _start
    if descriptor >= 0:
        _memory, _start = mmap.mmap(descriptor, SLOT_BYTES * SLOTS), slot * SLOT_BYTES
        _put("")


def put(who: str) -> str:
    """Whom the process is at now; '' for nobody. What it was before."""
    before = _now
    if who != before:
        _put(who)
    return before


def _put(who: str) -> None:
    global _now
    _now = who
    if _memory is not None:
        _memory[_start : _start + SLOT_BYTES] = who.encode()[:SLOT_BYTES].ljust(SLOT_BYTES, b"\0")


@contextlib.contextmanager
def on(who: str) -> Iterator[None]:
    before = put(who)
    try:
        yield
    finally:
        put(before)


@coroutine
def steps_of(who: str, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """The same coroutine; while one of its steps runs, it is the one."""
    step, given = work.send, None
    while True:
        before = put(who)
        try:
            waits_for = step(given)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            put(before)
        try:
            step, given = work.send, (yield waits_for)
        except BaseException as error:  # passed on to the coroutine, whose own it is
            step, given = work.throw, error


def read(descriptor: int, slot: int) -> str:
    """What the process with this slot was at; '' when that is not known."""
    if descriptor < 0:
        return ""
    return os.pread(descriptor, SLOT_BYTES, slot * SLOT_BYTES).rstrip(b"\0").decode(errors="replace")


# ---- deaths of coordinators: the supervisor counts them, and the coordinator forgets them --------------------------------


def read_deaths(descriptor: int) -> dict[str, int]:
    """job → how many coordinators died over it."""
    try:
        return dict(json.loads(os.pread(descriptor, 65536, 0) or b"{}")) if descriptor >= 0 else {}
    except (OSError, ValueError):
        return {}


def write_deaths(descriptor: int, deaths: dict[str, int]) -> None:
    """The newest hundred."""
    if descriptor >= 0:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(dict(list(deaths.items())[-100:])).encode(), 0)


def count_death(descriptor: int, job: str) -> None:
    known = read_deaths(descriptor)
    write_deaths(descriptor, {**{each: n for each, n in known.items() if each != job}, job: known.get(job, 0) + 1})


def forgive(descriptor: int, job: str) -> None:
    known = read_deaths(descriptor)
    if known.pop(job, None) is not None:
        write_deaths(descriptor, known)
