"""A round over the logs: look at each job's, drop what is over the bounds, compress what is due; one small step after another.

Everything about files that may be many happens here, in the keeper's thread and nowhere else. Of a job only an `Entry` is
remembered, so that a later round looks at what has changed and at nothing else. `act` does what `retention` decides, or only
writes it down.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Container, Iterable, Iterator

from mozartd.coordinator import shelf
from mozartd.coordinator.retention import (
    TOTAL_CAP,
    Action,
    Age,
    AttemptLog,
    Bounds,
    Drop,
    Entry,
    care_for,
    oldest_first,
    packs,
)

Act = Callable[[Action], None]


class Rounds:
    """`running` gives the attempts that run now. Only `bytes` may be read by others than the thread."""

    def __init__(self, logs: str, running: Callable[[], Container[str]]) -> None:
        self._logs, self.running = logs, running
        self._entries: dict[str, Entry] = {}
        self.bytes = 0
        """All logs', as last seen."""
        self.seen = 0
        """Bytes that the last round found."""

    def play(self, jobs: Iterable[str] | None, bounds: Bounds, now: float, act: Act) -> Iterator[None]:
        """One round, a step at each `next`. `jobs`: those of which something changed; None: any may have. `now` is when what
        is compressed must be due."""
        if jobs is None:
            jobs = shelf.jobs(self._logs)
            for gone in self._entries.keys() - jobs:
                self.forget(gone)
        self.seen = 0
        for job in jobs:
            yield from self._look(job, bounds, act)
        dropped = _Dropped()
        yield from self._thin(bounds, act, dropped)
        for job in [
            job for job, entry in self._entries.items() if entry.packs_at is not None and entry.packs_at <= now
        ]:
            yield from self._pack(job, bounds, now, act, dropped)

    def next_at(self) -> float | None:
        """When something more is to be compressed, if nothing else happens."""
        return min((entry.packs_at for entry in self._entries.values() if entry.packs_at is not None), default=None)

    def forget(self, job: str) -> None:
        self._put(job, None)

    def _put(self, job: str, entry: Entry | None) -> None:
        before = self._entries.pop(job, None)
        self.bytes += (entry.bytes if entry else 0) - (before.bytes if before else 0)
        if entry is not None:
            self._entries[job] = entry

    def _look(self, job: str, bounds: Bounds, act: Act) -> Iterator[None]:
        size, oldest, packs_at = 0, math.inf, math.inf
        for log in shelf.scan(self._logs, job):
            # Asked after the look: whatever that has seen of an attempt that does not run now is all of it.
            is_running = log.attempt in self.running()
            care = care_for(log, is_running, bounds)
            self.seen += log.bytes if act is not _leave else 0
            for action in care.actions:
                act(action)
                yield
            size += care.left.bytes
            if not is_running and care.left.segments():
                oldest = min(oldest, care.left.age[0])
            packs_at = min(packs_at, math.inf if care.packs_at is None else care.packs_at)
            yield
        is_there = size > 0 or os.path.isdir(os.path.join(self._logs, job))
        self._put(job, Entry(size, oldest, None if packs_at == math.inf else packs_at) if is_there else None)
        yield

    def _thin(self, bounds: Bounds, act: Act, dropped: _Dropped) -> Iterator[None]:
        over = self.bytes - bounds.total_bytes
        for drop in oldest_first(self._entries, over, self._scan, self.running, bounds):
            act(drop)
            dropped.add(drop)
            yield
        for job in dropped.jobs:
            yield from self._look(job, bounds, _leave)

    def _scan(self, job: str) -> Iterator[AttemptLog]:
        return shelf.scan(self._logs, job)

    def _pack(self, job: str, bounds: Bounds, now: float, act: Act, dropped: _Dropped) -> Iterator[None]:
        for log in shelf.scan(self._logs, job):
            left = dropped.what_is_left(care_for(log, log.attempt in self.running(), bounds).left)
            for pack in packs(left, log.attempt in self.running(), bounds.pack_after, now):
                act(pack)
                yield
            yield
        yield from self._look(job, bounds, _leave)


class _Dropped:
    """What a round has dropped for the sake of all, or would have: it may still be there."""

    def __init__(self) -> None:
        self.jobs: dict[str, Age] = {}
        """Up to which of its attempts."""
        self._last: Drop | None = None
        """Of which something may be left."""

    def add(self, drop: Drop) -> None:
        assert drop.why == TOTAL_CAP
        self.jobs[drop.log.job] = drop.log.age
        self._last = drop

    def what_is_left(self, log: AttemptLog) -> AttemptLog:
        if log.job not in self.jobs or log.age > self.jobs[log.job]:
            return log
        if self._last is not None and log.attempt == self._last.log.attempt:
            return log.without(*self._last.pieces)
        return log.without(*log.pieces)


def _leave(action: Action) -> None:
    """Look only."""
