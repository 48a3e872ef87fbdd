"""From the agent's write to the line printed by `mozart logs -f`, against `tail -f` of a file the same agent writes.

Each line carries the time at which it was written (CLOCK_MONOTONIC, the same for all processes of a machine).
"""

from __future__ import annotations

import subprocess
import time
from statistics import median

from tests import AGENT
from tests.bench import Row, at_most, gated, open_gate, quantile, running
from tests.process.daemon import Daemon, wait_until

ROUNDS = 3
LINES = 400
PAUSE = 0.007
SHORT = {"ROUNDS": 1, "LINES": 40}


def measure() -> list[Row]:
    ours, tail = [], []
    with running() as daemon:
        for n in range(ROUNDS):
            tail.append(tail_file(daemon))
            ours.append(follow(daemon, f"latency{n}"))
    return [row(ours, tail, "p50", 0.5, 2), row(ours, tail, "p99", 0.99, 15)]


def row(ours: list[list[float]], tail: list[list[float]], name: str, part: float, reach: float) -> Row:
    """The median round's quantile."""
    mine, theirs = (median(quantile(found, part) for found in rounds) for rounds in (ours, tail))
    return at_most(f"latency of a line, {name}", mine, "ms", reach, f"tail -f: {theirs:.2f} ms")


def follow(daemon: Daemon, name: str) -> list[float]:
    with gated(daemon, f"tick {LINES} {PAUSE}", name) as (job, gate):
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
