"""Memory of a daemon that has nothing to do: the PSS of supervisor, coordinator and two workers, added up."""

from __future__ import annotations

from tests.bench import MB, Row, at_most, running
from tests.process.daemon import processes_of


def measure() -> list[Row]:
    with running(workers=2, sample=False) as daemon:
        total = sum(map(pss, processes_of(daemon.home)))
    return [at_most("memory of an idle daemon, PSS", total / MB, "MB", 90)]


def pss(pid: int) -> int:
    """Bytes: its own pages, and its share of those it has in common with others."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(1024 * int(line.split()[1]) for line in file if line.startswith("Pss:"))
