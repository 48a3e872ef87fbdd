"""Many attempts in one daemon: memory, descriptors, threads and children of every process, sampled after each batch.

What a process holds may rise until it is warm and must then stay: the slope of the samples' later half is what counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import linear_regression
from typing import Any

from tests.process.asking import submit
from tests.process.daemon import Daemon, processes_of, wait_until, write_score

BATCH = 100
#: Attempts before which memory is not judged: caches and pools still fill.
WARM = 5000
MB = 1_000_000


@dataclass(frozen=True)
class Sample:
    attempts: int
    memory: int
    """Private resident bytes: what is shared with the supervisor since the fork belongs to nobody's growth."""
    fds: int
    threads: int
    children: int


@dataclass(frozen=True)
class Line:
    """What became of one process."""

    name: str
    first: Sample
    last: Sample
    slope: float
    """Bytes per attempt, of the later half."""

    @property
    def is_flat(self) -> bool:
        still = (self.last.fds, self.last.threads, self.last.children)
        warm = (self.first.fds, self.first.threads, self.first.children)
        return all(now <= then + 2 for now, then in zip(still, warm, strict=True)) and (
            not self.is_warm or self.slope * 1000 < MB
        )

    @property
    def is_warm(self) -> bool:
        return self.last.attempts >= WARM


def run(home: Path, attempts: int) -> list[Line]:
    daemon = Daemon(home).start()
    try:
        fields: dict[str, Any] = {
            "parallel": {"enabled": True, "max_concurrent": 8},
            "backend": {"command": ["/bin/true"]},
        }
        score = write_score(home, *["x"] * BATCH, **fields)
        pids = {name: daemon.pid(name) for name in ("supervisor", "coordinator", "worker:1", "worker:2")}
        samples: dict[str, list[Sample]] = {name: [] for name in pids}
        for done in range(BATCH, attempts + 1, BATCH):
            job = submit(daemon, score)
            assert daemon.wait(job)["state"] == "completed"
            wait_until(partial(is_alone, daemon))
            for name, pid in pids.items():
                samples[name].append(sample(pid, done))
        assert daemon.stop() == 0
        assert not daemon.leftovers()
    finally:
        daemon.remove()
    return [line(name, found) for name, found in samples.items()]


def is_alone(daemon: Daemon) -> bool:
    """No agent lives, nobody is being reaped: the supervisor, its children, and the fork server of each of those."""
    return len(processes_of(daemon.home)) == 2 * (daemon.workers + 1) + 1


def sample(pid: int, attempts: int) -> Sample:
    with open(f"/proc/{pid}/smaps_rollup") as file:
        private = sum(int(row.split()[1]) for row in file if row.startswith(("Private_Dirty", "Private_Clean")))
    tasks = os.listdir(f"/proc/{pid}/task")
    children = 0
    for task in tasks:
        with open(f"/proc/{pid}/task/{task}/children") as file:
            children += len(file.read().split())
    return Sample(attempts, private * 1024, len(os.listdir(f"/proc/{pid}/fd")), len(tasks), children)


def line(name: str, samples: list[Sample]) -> Line:
    later = samples[len(samples) // 2 :]
    slope = linear_regression([each.attempts for each in later], [each.memory for each in later]).slope
    return Line(name, later[0], later[-1], slope)


def show(lines: list[Line]) -> str:
    rows = [("process", "attempts", "memory", "bytes per attempt", "fds", "threads", "children", "")]
    for one in lines:
        a, b = one.first, one.last
        rows.append((
            one.name, f"{a.attempts} … {b.attempts}", f"{a.memory / MB:.1f} … {b.memory / MB:.1f} MB", f"{one.slope:.0f}",
            f"{a.fds} … {b.fds}", f"{a.threads} … {b.threads}", f"{a.children} … {b.children}",
            "GROWS" if not one.is_flat else "flat" if one.is_warm else "flat, but for memory, which is still settling",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)
