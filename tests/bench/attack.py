"""A client's `status` requests while others insult the socket, against the same client left in peace.

Each attack is a process with many connections (tests/torture/attackers.py). Peace and attack take turns, and what is compared
is the client's 99th percentile over all turns of each: it must not double.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from tests.bench import Row, quantile, running
from tests.process.daemon import Daemon, write_score
from tests.torture.attackers import ATTACKS, attacked

ROUNDS = 3
SECONDS = 0.6
REACH = 2.0


def measure() -> list[Row]:
    with running() as daemon:
        daemon.wait(daemon.run(write_score(daemon.home, "say one", "say two")))
        rows = [under(daemon, name, daemon.socket) for name in ATTACKS]
        workers = str(Path(daemon.socket).with_name("workers.sock"))
        return [*rows, under(daemon, "noise", workers, " at the workers' socket")]


def under(daemon: Daemon, name: str, path: str, where: str = "") -> Row:
    quiet: list[float] = []
    attack: list[float] = []
    for _ in range(ROUNDS):
        quiet += ask(daemon)
        with attacked(name, path):
            attack += ask(daemon)
    before, after = quantile(quiet, 0.99), quantile(attack, 0.99)
    ratio = after / before
    return Row(
        f"status under {name}{where}, p99",
        f"{1000 * after:.2f} ms = {ratio:.2f}× (p50 {1000 * median(attack):.2f})",
        f"in peace: {1000 * before:.2f} ms (p50 {1000 * median(quiet):.2f})",
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
