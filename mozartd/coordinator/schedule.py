"""What next: which ready sheets start now.

One pure function of the board, the caps and the free credit. Jobs share by stride: the job that has been served least for its
weight goes next, so a job of 2,000 sheets does not starve one of 2. It starts nothing and changes nothing: `turn` does.
Cost: the lanes, plus log n for each start; how many sheets are ready does not matter.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Container
from typing import Protocol

from mozartd.coordinator.board import Board, Entry, Lane, startable
from mozartd.coordinator.model import Job, weight


class Caps(Protocol):
    """How many more may start, by what they share. Asked once a lane; None = no limit."""

    def of_scope(self, scope: str) -> int | None: ...

    def of_backend(self, backend: str) -> int | None: ...

    def of_group(self, group: str) -> int | None: ...

    def of_jobs(self) -> int | None:
        """How many jobs may begin."""

    def may_begin(self, job: Job, taken: Container[str]) -> bool:
        """Whether its workspace is free for it; `taken` are those of the jobs that are about to begin."""


class _Room:
    """The caps as they shrink while a plan is made."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._left: dict[str, int | None] = {}

    def has(self, lane: Lane) -> bool:
        return all(left is None or left > 0 for left in map(self._of, _keys(lane)))

    def take(self, lane: Lane) -> None:
        for key in _keys(lane):
            left = self._of(key)
            if left is not None:
                self._left[key] = left - 1

    def _of(self, key: str) -> int | None:
        if key not in self._left:
            kind, _, name = key.partition(":")
            self._left[key] = self._ask(kind, name)
        return self._left[key]

    def _ask(self, kind: str, name: str) -> int | None:
        if kind == "scope":
            return self._caps.of_scope(name)
        if kind == "backend":
            return self._caps.of_backend(name)
        return self._caps.of_group(name) if kind == "group" else self._caps.of_jobs()


def _keys(lane: Lane) -> list[str]:
    keys = [f"scope:{lane.scope}", f"backend:{lane.scope.partition('/')[0]}"]
    if lane.group:
        keys.append(f"group:{lane.group}")
    if lane.queued:
        keys.append("jobs:")
    return keys


def plan(board: Board, caps: Caps, credit: int, now: float) -> list[tuple[Job, int]]:
    """(job, sheet number) in the order to start them; at most `credit`. The board is settled for `now`."""
    room = _Room(caps)
    starts: list[tuple[Job, int]] = []
    planned: Counter[int] = Counter()
    taken: Counter[tuple[int, str]] = Counter()
    workspaces: set[str] = set()
    # What may come next: each open lane's head; below it, its heap's children as they are reached.
    frontier: list[tuple[Entry, Lane, int]] = []
    for lane, heap in board.lanes.items():
        if room.has(lane):
            heapq.heappush(frontier, (board.due(lane, heap[0]), lane, 0))
    while frontier and len(starts) < credit:
        entry, lane, index = heapq.heappop(frontier)
        if not room.has(lane):
            continue  # Its lane is full now: what is below it is too.
        if index >= 0:
            _push_children(frontier, board, lane, index)
        job = entry[5]
        if not board.is_current(entry) or not job.has_room(planned[job.seq]):
            continue
        if lane.queued and not caps.may_begin(job, workspaces):
            continue
        n = startable(job, lane.scope, now)[taken[job.seq, lane.scope]]
        starts.append((job, n))
        planned[job.seq] += 1
        taken[job.seq, lane.scope] += 1
        if lane.queued:
            workspaces.add(job.real_workspace)
        room.take(lane)
        _push_again(frontier, job, lane, entry, taken[job.seq, lane.scope], now)
    return starts


def _push_children(frontier: list[tuple[Entry, Lane, int]], board: Board, lane: Lane, index: int) -> None:
    heap = board.lanes[lane]
    for child in (2 * index + 1, 2 * index + 2):
        if child < len(heap):
            heapq.heappush(frontier, (board.due(lane, heap[child]), lane, child))


def _push_again(
    frontier: list[tuple[Entry, Lane, int]], job: Job, lane: Lane, entry: Entry, taken: int, now: float
) -> None:
    """The job's next sheet on this scope, a stride later. A job that begins is judged as begun only by the next plan."""
    if lane.queued or taken >= len(startable(job, lane.scope, now)):
        return
    later: Entry = (entry[0] + 1.0 / weight(job.priority), *entry[1:])
    heapq.heappush(frontier, (later, lane, -1))
