"""Which jobs could start a sheet now, cheapest to ask: one heap of jobs for each lane.

A lane is what shares a limit: (scope, group, whether the job has begun). `book` touches a job whenever something about it
changed; `settle` puts touched jobs, and those whose time has come, in their lanes again. Old entries stay where they are,
stamped out, until they surface. `schedule.plan` reads the heaps and changes nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from ipc.states import Job as JobState
from mozartd.coordinator.model import Job, weight


class Lane(NamedTuple):
    scope: str
    group: str
    queued: bool
    """Jobs that have not begun: beginning one takes one of `max_concurrent_jobs`."""


#: (virtual time, place, −priority, number, stamp, job): compared up to the stamp, which is unique. The virtual time is that
#: at which the job's next sheet would have been served in a perfectly fair world; of a job that has not begun it is now.
Entry = tuple[float, float, int, int, int, Job]

#: A lane with so many entries more than twice those it was last built with is built anew: the others are stamped out.
SLACK = 64


class Board:
    def __init__(self) -> None:
        self.lanes: dict[Lane, list[Entry]] = {}
        self.clock = 0.0
        """The virtual time of the fair share: that of the sheet that was started last. It passes with every start, also of
        new jobs, so however many of those come, the others' turn comes too."""
        self._touched: dict[int, Job] = {}
        self._timed: list[tuple[float, int, Job]] = []
        self._stamp = 0
        self._true_size: dict[Lane, int] = {}
        """Entries of a lane when it was last built anew."""
        self._settled_for = 0.0

    def __repr__(self) -> str:
        return f"<Board {len(self.lanes)} lanes, {sum(map(len, self.lanes.values()))} entries, clock {self.clock:.1f}>"

    def touch(self, job: Job) -> None:
        """Something about it changed: look at it again before the next plan."""
        self._touched[job.seq] = job

    def settle(self, now: float) -> None:
        """Make the lanes true for `now`."""
        if now < self._settled_for:
            self._touch_waiting(now)
        self._settled_for = now
        while self._timed and self._timed[0][0] <= now:
            self.touch(heapq.heappop(self._timed)[2])
        touched, self._touched = self._touched, {}
        for job in touched.values():
            self._place(job, now)
        for lane in list(self.lanes):
            self._surface(lane)

    def next_time(self) -> float | None:
        """When the next job is due that only time keeps back."""
        return self._timed[0][0] if self._timed else None

    def is_current(self, entry: Entry) -> bool:
        return entry[4] == entry[5].stamp

    def due(self, lane: Lane, entry: Entry) -> Entry:
        """The entry as it competes with other lanes'."""
        return (self.clock, *entry[1:]) if lane.queued else entry

    def start(self, job: Job, begins: bool) -> None:
        """A sheet of it starts: it is served."""
        passed = self.clock if begins else job.passed
        job.passed = self.clock = max(passed + 1.0 / weight(job.priority), self.clock)

    def _touch_waiting(self, now: float) -> None:
        """The clock was set back: whose time had come may have to wait for it once more."""
        for entry in chain.from_iterable(self.lanes.values()):
            if self.is_current(entry) and entry[5].not_before > now:
                self.touch(entry[5])

    def _place(self, job: Job, now: float) -> None:
        self._stamp += 1
        job.stamp = self._stamp
        was_waiting, job.is_waiting = job.is_waiting, False
        if (
            job.wanted
            or job.after
            or job.is_busy
            or job.state not in (JobState.QUEUED, JobState.RUNNING)
            or not job.has_room()
        ):
            return
        if job.not_before > now:
            heapq.heappush(self._timed, (job.not_before, self._stamp, job))
        if not was_waiting:
            # What a job could not use while it could not run is not owed to it; nor does a new one begin at zero.
            job.passed = max(job.passed, self.clock)
        queued = job.state is JobState.QUEUED
        order = (0.0, job.place) if queued else (job.passed + 1.0 / weight(job.priority), 0.0)
        for scope in job.ready:
            if startable(job, scope, now):
                job.is_waiting = True
                heap = self.lanes.setdefault(Lane(scope, job.group, queued), [])
                heapq.heappush(heap, (*order, -job.priority, job.seq, job.stamp, job))

    def _surface(self, lane: Lane) -> None:
        heap = self.lanes[lane]
        while heap and not self.is_current(heap[0]):
            heapq.heappop(heap)
        if not heap:
            del self.lanes[lane]
            self._true_size.pop(lane, None)
        elif len(heap) > SLACK + 2 * self._true_size.get(lane, 0):
            heap[:] = [entry for entry in heap if self.is_current(entry)]
            heapq.heapify(heap)
            self._true_size[lane] = len(heap)


def startable(job: Job, scope: str, now: float) -> Sequence[int]:
    """The job's sheets on a scope that could start, in number order. The pause is between sheets: one that has begun
    does not wait for it."""
    ready = job.ready.get(scope, ())
    if job.not_before <= now:
        return ready
    return [n for n in ready if job.sheets[n].k]
