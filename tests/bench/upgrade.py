"""An upgrade while an agent prints every ten milliseconds: until the new image is ready, the longest that anybody waited for
an answer meanwhile, the longest pause of the agent."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from statistics import median
from threading import Event, Thread

from ipc.client import NotTaken
from ipc.paths import find_paths
from mozartd.answers import Hearing
from mozartd.lock import find_supervisor
from mozartd.processes import send
from tests.bench import Row, at_most, quantile, running
from tests.process.daemon import Daemon, write_score

ROUNDS = 5
SHORT = {"ROUNDS": 1}


def measure() -> list[Row]:
    with running() as daemon:
        job = daemon.run(write_score(daemon.home, "tick 100000 0.01"))
        daemon.wait_for(job, "attempt.started")
        with asking(daemon) as waits:
            taken = [upgrade(daemon) for _ in range(ROUNDS)]
        log = (daemon.home / "logs" / job / "1.1.log").read_bytes()
    ticks = [int(line.split()[-1]) for line in log.splitlines()[:-1]]
    pauses = [(after - before) / 1e6 for before, after in pairwise(ticks)]
    return [
        at_most("upgrade: from USR2 until the new image is ready", 1000 * median(taken), "ms", 3000),
        at_most(
            "upgrade: the longest wait for an answer",
            1000 * max(waits),
            "ms",
            500,
            f"median {1000 * median(waits):.2f} ms",
        ),
        at_most(
            "upgrade: the longest pause of a running agent",
            max(pauses),
            "ms",
            250,
            f"p99 {quantile(pauses, 0.99):.1f} ms",
        ),
    ]


def upgrade(daemon: Daemon) -> float:
    paths = find_paths(daemon.environment)
    running = find_supervisor(paths)
    assert running
    with Hearing(paths, "upgrade") as hearing:
        begin = time.perf_counter()
        send(running.process, signal.SIGUSR2)
        hearing.wait(running.process, 60)
        return time.perf_counter() - begin


@contextlib.contextmanager
def asking(daemon: Daemon) -> Iterator[list[float]]:
    """How long each of those waited who asked, one after the other, meanwhile."""
    waits: list[float] = []
    over = Event()

    def ask() -> None:
        while not over.is_set():
            begin = time.perf_counter()
            while not answered():
                pass
            waits.append(time.perf_counter() - begin)
            over.wait(0.002)

    def answered() -> bool:
        with contextlib.suppress(NotTaken), daemon.client() as client:
            return bool(client.request("daemon.status"))
        return False

    thread = Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()
