"""What next: which ready sheets start now, and when to look again.

One pure function of the jobs, the free credit, the holds and `now`. Jobs share by stride: the job that has been served least
for its weight goes next, so a job of 2,000 sheets does not starve one of 2. It starts nothing: `turn` does.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ipc.states import Job as JobState
from mozartd.coordinator.book import weight
from mozartd.coordinator.model import Job


class Plan(NamedTuple):
    starts: list[tuple[Job, int]]
    """(job, sheet number), in the order to start them."""
    wake_at: float | None
    """When time alone makes another start possible."""


def plan(jobs: Iterable[Job], credit: int, holds: Mapping[str, float], now: float, clock: float = 0.0) -> Plan:
    """`credit` = attempts that workers and limits still allow; `holds`: scope → until; `clock` is the book's."""
    starts: list[tuple[Job, int]] = []
    wakes: list[float] = []
    lanes: list[tuple[float, int, int, Job, list[int]]] = []
    for job in jobs:
        sheets = _startable(job, holds, now, wakes)
        if sheets:
            # What a job could not use while it waited is not owed to it.
            lanes.append((max(job.passed, clock), -job.priority, job.seq, job, sheets))
    heapq.heapify(lanes)
    while lanes and len(starts) < credit:
        passed, rank, seq, job, sheets = heapq.heappop(lanes)
        starts.append((job, sheets.pop()))
        if sheets:
            heapq.heappush(lanes, (passed + 1.0 / weight(job.priority), rank, seq, job, sheets))
    return Plan(starts, min(wakes, default=None))


def _startable(job: Job, holds: Mapping[str, float], now: float, wakes: list[float]) -> list[int]:
    """The job's sheets that could start now, last first; what only time keeps back goes to `wakes`."""
    room = job.policy.max_concurrent - len(job.running)
    if not job.ready or room <= 0 or job.wanted or job.state not in (JobState.QUEUED, JobState.RUNNING):
        return []
    chosen: list[int] = []
    for n in job.ready:
        sheet = job.sheets[n]
        # The pause is between sheets: another attempt of a sheet that has begun does not wait for it.
        until = max(holds.get(sheet.scope, 0.0), 0.0 if sheet.k else job.not_before)
        if until > now:
            wakes.append(until)
        else:
            chosen.append(n)
            if len(chosen) == room:
                break
    chosen.reverse()
    return chosen
