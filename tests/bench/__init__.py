"""`make bench`: what Mozart must reach, measured beside the programs it is compared with, in the same run.

One file per bench, each with `measure() -> list[Row]`; `__main__` runs them and prints the table. A bench starts a
daemon of its own (`running`), takes turns between the baseline and us, and compares medians: a busy machine slows both.
`SHORT` are the sizes with which a bench only shows that it still runs.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.process.daemon import Daemon, processes_of, wait_until, write_score

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `value` is what is held against the reach."""

    what: str
    ours: str
    baseline: str
    reach: str
    value: float
    reached: bool


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


@contextmanager
def running(workers: int = 2) -> Iterator[Daemon]:
    """A daemon with nothing to do, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mzb", ignore_cleanup_errors=True) as directory:
        daemon = Daemon(Path(directory), workers=workers)
        try:
            daemon.start()
            # Supervisor and coordinator; what the supervisor starts to see whether they are ready is gone again.
            wait_until(lambda: len(processes_of(daemon.home)) == workers + 2)
            yield daemon
        finally:
            try:
                daemon.stop()
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
