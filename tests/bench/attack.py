"""A client's `status` requests while others insult the socket, against the same client left in peace.

Each attack is a process with many connections (tests/torture/attackers.py). Peace and attack take turns, and what is compared
is the median over the turns of the client's 99th percentile: it must not double.
"""

from __future__ import annotations

import time
from itertools import chain
from pathlib import Path
from statistics import median

from tests.bench import Row, quantile, running
from tests.process.daemon import Daemon, write_score
from tests.torture.attackers import ATTACKS, attacked

ROUNDS = 5
SECONDS = 0.6
REACH = 2.0
SHORT = {"ROUNDS": 1, "SECONDS": 0.1, "ATTACKS": ("noise",)}


def measure() -> list[Row]:
    with running() as daemon:
        daemon.wait(daemon.run(write_score(daemon.home, "say one", "say two")))
        rows = [under(daemon, name, daemon.socket) for name in ATTACKS]
        workers = str(Path(daemon.socket).with_name("workers.sock"))
        return [*rows, under(daemon, "noise", workers, " at the workers' socket")]


def under(daemon: Daemon, name: str, path: str, where: str = "") -> Row:
    quiet: list[list[float]] = []
    attack: list[list[float]] = []
    for _ in range(ROUNDS):
        quiet.append(ask(daemon))
        with attacked(name, path):
            attack.append(ask(daemon))
    # Of each turn, then the median: whatever else a machine does for a moment would decide a percentile over all of them.
    before, after = (median(quantile(turn, 0.99) for turn in turns) for turns in (quiet, attack))
    ratio = after / before
    return Row(
        f"status under {name}{where}, p99",
        f"{1000 * after:.2f} ms = {ratio:.2f}× (p50 {1000 * median(chain(*attack)):.2f})",
        f"in peace: {1000 * before:.2f} ms (p50 {1000 * median(chain(*quiet)):.2f})",
        f"≤ {REACH:g}×",
        ratio,
        ratio <= REACH,
    )


def ask(daemon: Daemon) -> list[float]:
    """Seconds of each request, one after the other."""
    taken = []
    with daemon.client() as client:
        client.request("status")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            begin = time.perf_counter()
            client.request("status")
            taken.append(time.perf_counter() - begin)
    return taken
