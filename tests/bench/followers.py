"""Twenty `mozart logs -f` of one flood, against twenty `cat` of the same bytes; what a stopped follower costs.

Every follower's every byte is compared with what was written. A follower that was sent SIGSTOP must slow nobody down.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import IO

from tests.bench import MB, Row, at_least, gated, open_gate, running
from tests.bench.flood import check_all, flood
from tests.process.daemon import Daemon, end_client, wait_until

FOLLOWERS = 20
BYTES = 16 * MB
ROUNDS = 3
#: The flood that is captured while a follower stands still, and how often each way.
LONG = 100 * MB
STOP_ROUNDS = 11
SHORT = {"FOLLOWERS": 3, "BYTES": MB, "ROUNDS": 1, "LONG": 4 * MB, "STOP_ROUNDS": 1}


def measure() -> list[Row]:
    expected = flood(BYTES)
    with running() as daemon:
        plain = daemon.home / "plain"
        plain.write_bytes(expected)
        ours, cats = [], []
        for n in range(ROUNDS):
            cats.append(cat(plain, expected))
            ours.append(follow(daemon, f"flood{n}", expected))
        name = f"{FOLLOWERS} × cat"
        row = at_least(f"{FOLLOWERS} followers, every byte", median(ours), median(cats), "MB/s", name, 0)
        total = Row(row.what, row.ours, row.baseline, "≥ 80 MB/s", median(ours), median(ours) >= 80)
        return [total, stopped(daemon)]


def cat(path: Path, expected: bytes) -> float:
    """MB/s delivered in total."""
    begin = time.monotonic()
    processes = [subprocess.Popen(["cat", path], stdout=subprocess.PIPE) for _ in range(FOLLOWERS)]
    return read_all(processes, expected, begin)


def follow(daemon: Daemon, name: str, expected: bytes) -> float:
    with gated(daemon, f"say ready\nflood {BYTES}", name) as (job, gate):
        processes = [daemon.popen("logs", job, "-f", "--raw", stderr=subprocess.DEVNULL) for _ in range(FOLLOWERS)]
        wait_until(lambda: daemon.status()["followers"] == FOLLOWERS)
        begin = time.monotonic()
        open_gate(gate)
        return read_all(processes, b"ready\n" + expected, begin)


def read_all(processes: list[subprocess.Popen[bytes]], expected: bytes, begin: float) -> float:
    streams: list[IO[bytes]] = [process.stdout for process in processes if process.stdout]
    check_all(streams, expected)
    seconds = time.monotonic() - begin
    for process in processes:
        rest, _ = process.communicate(timeout=30)
        assert (rest, process.returncode) == (b"", 0)
    return len(processes) * len(expected) / MB / seconds


def stopped(daemon: Daemon) -> Row:
    """Capture rates without a follower and with one that stands still: each pair was measured in the same second."""
    alone: list[float] = []
    watched: list[float] = []
    for n in range(STOP_ROUNDS):
        for follow in (False, True) if n % 2 else (True, False):
            (watched if follow else alone).append(capture(daemon, f"{follow}-{n}", follow=follow))
    change = 100 * median(1 - slow / fast for slow, fast in zip(watched, alone, strict=True))
    ours = f"{median(watched):,.0f} MB/s = {change:+.1f} % slower"
    return Row(
        "capture with a stopped follower", ours, f"alone: {median(alone):,.0f} MB/s", "≤ 5 %", change, change <= 5
    )


def capture(daemon: Daemon, name: str, *, follow: bool) -> float:
    """MB/s of one flood into the log, from the gate to the end of the attempt."""
    with gated(daemon, f"flood {LONG}", name) as (job, gate):
        if follow:
            follower = daemon.popen("logs", job, "-f", "--raw", stderr=subprocess.DEVNULL)
            wait_until(lambda: daemon.status()["followers"] == 1)
            follower.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        open_gate(gate)
        event = daemon.wait_for(job, "attempt.finished")
        seconds = time.monotonic() - begin
        if follow:
            end_client(follower)
            wait_until(lambda: daemon.status()["followers"] == 0)
        assert event["data"]["verdict"] == "ok"
    return LONG / MB / seconds
