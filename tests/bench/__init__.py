"""`make bench`: what Mozart must reach, measured beside the programs it is compared with, in the same run.

One file per bench, each with `measure() -> list[Row]`; `__main__` runs them and prints the table. A bench starts a
daemon of its own (`running`), takes turns between the baseline and us, and compares medians: a busy machine slows both.
`SHORT` are the sizes with which a bench only shows that it still runs. While a bench's daemons run, their loops are sampled
(`ipc.lag`): how much of the processor one used between two waits, and how late it was.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ipc import lag
from tests.process.daemon import Daemon, processes_of, wait_until, write_score

MB = 1_000_000
#: No loop uses more of the processor between two waits.
MOST_CPU_MS = 20.0

SAMPLES: list[tuple[str, lag.Lag]] = []
"""Of the daemons that have ended since somebody took them away: (process, figures)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `value` is what is held against the reach."""

    what: str
    ours: str
    baseline: str
    reach: str
    value: float
    reached: bool
    cpu_ms: float | None = None
    """What a loop of the daemon used between two waits, at most: coordinator, workers 1 and 2. None: not sampled."""
    lag_ms: float | None = None
    """How late a sign from outside was answered, wall time, p99.9."""

    @property
    def is_stalled(self) -> bool:
        return self.cpu_ms is not None and self.cpu_ms > MOST_CPU_MS


def at_least(what: str, ours: float, baseline: float, unit: str, name: str, reach: float) -> Row:
    """A rate: ours over the baseline's."""
    ratio = ours / baseline
    return Row(
        what,
        f"{ours:,.0f} {unit} = {ratio:.2f}×",
        f"{name}: {baseline:,.0f} {unit}",
        f"≥ {reach}×",
        ratio,
        ratio >= reach,
    )


def at_most(what: str, value: float, unit: str, reach: float, baseline: str = "") -> Row:
    """An absolute number that must stay below another."""
    return Row(what, f"{value:,.2f} {unit}", baseline, f"≤ {reach:g} {unit}", value, value <= reach)


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest value that `part` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * part) - 1)]


def sampled(daemon: Daemon) -> Daemon:
    """Have its loops watched, once it is started. `take_samples` before its directory goes."""
    directory = daemon.home / "lag"
    directory.mkdir()
    daemon.environment[lag.VARIABLE] = str(directory)
    return daemon


def take_samples(daemon: Daemon) -> None:
    paths = sorted((daemon.home / "lag").glob("*"))
    SAMPLES.extend((path.name, found) for path in paths if (found := lag.read([str(path)])))


def with_samples(rows: list[Row]) -> list[Row]:
    """The rows of one bench with what its daemons' loops did meanwhile."""
    found = [one for _, one in SAMPLES]
    SAMPLES.clear()
    if not found:
        return rows
    cpu, wall = (1000 * max(values) for values in zip(*found, strict=True))
    return [replace(row, cpu_ms=cpu, lag_ms=wall) for row in rows]


@contextmanager
def running(workers: int = 2, *, sample: bool = True, settings: Mapping[str, Any] | None = None) -> Iterator[Daemon]:
    """A daemon with nothing to do, gone afterwards. `sample`: not where a sampler would be what is measured."""
    with tempfile.TemporaryDirectory(prefix="mzb", ignore_cleanup_errors=True) as directory:
        daemon = Daemon(Path(directory), settings, workers)
        if sample:
            sampled(daemon)
        try:
            daemon.start()
            # The supervisor, its children with their fork servers; what it starts to see whether they are ready is gone again.
            wait_until(lambda: len(processes_of(daemon.home)) == 2 * (workers + 1) + 1)
            yield daemon
        finally:
            try:
                daemon.stop()
                take_samples(daemon)
            finally:
                daemon.remove()


@contextmanager
def gated(daemon: Daemon, script: str, name: str) -> Iterator[tuple[str, Path]]:
    """A job whose agent waits at a gate before it plays `script`: its id, and the gate to open."""
    directory = daemon.home / name
    directory.mkdir()
    job = daemon.run(write_score(directory, f"gate go\n{script}", name=name))
    gate = directory / "workspace" / "go"
    wait_until(gate.exists)
    yield job, gate


def open_gate(gate: Path) -> None:
    """Returns when the agent stands at it and goes on."""
    os.close(os.open(gate, os.O_WRONLY))
