"""From the agent's write to the line printed by `mozart logs -f`, against `tail -f` of a file the same agent writes.

Each line carries the time at which it was written (CLOCK_MONOTONIC, the same for all processes of a machine).
"""

from __future__ import annotations

import subprocess
import time

from tests.bench import Row, at_most, gated, open_gate, quantile, running
from tests.conftest import AGENT
from tests.process.daemon import Daemon, wait_until

LINES = 800
PAUSE = 0.007


def measure() -> list[Row]:
    with running() as daemon:
        ours = follow(daemon)
        tail = tail_file(daemon)
    baseline = "tail -f: {:.2f} ms"
    return [
        at_most("latency of a line, p50", quantile(ours, 0.5), "ms", 2, baseline.format(quantile(tail, 0.5))),
        at_most("latency of a line, p99", quantile(ours, 0.99), "ms", 15, baseline.format(quantile(tail, 0.99))),
    ]


def follow(daemon: Daemon) -> list[float]:
    with gated(daemon, f"tick {LINES} {PAUSE}", "latency") as (job, gate):
        follower = daemon.popen("logs", job, "-f", "--raw", stderr=subprocess.DEVNULL)
        wait_until(lambda: daemon.status()["followers"] == 1)
        open_gate(gate)
        return latencies(follower)


def tail_file(daemon: Daemon) -> list[float]:
    path = daemon.home / "ticks"
    path.touch()
    with open(path, "wb") as file, subprocess.Popen(["tail", "-f", path], stdout=subprocess.PIPE) as tail:
        agent = subprocess.Popen([AGENT, f"tick {LINES} {PAUSE}"], stdout=file)
        found = latencies(tail)
        tail.terminate()
        agent.wait()
    return found


def latencies(process: subprocess.Popen[bytes]) -> list[float]:
    """Milliseconds, of each line."""
    assert process.stdout
    found: list[float] = []
    while len(found) < LINES:
        written = int(process.stdout.readline().split()[1])
        found.append((time.monotonic_ns() - written) / 1e6)
    return found
