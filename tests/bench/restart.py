"""From kill -9 to the first answer, with a thousand unfinished jobs in the store: the coordinator alone, then everything."""

from __future__ import annotations

import time
from statistics import median

from tests.bench import Row, at_most, running
from tests.process.asking import submission
from tests.process.daemon import Daemon, write_score

JOBS = 1000
#: In each the coordinator dies once and the whole tree once, so that no death finds a restart slowed by earlier ones.
ROUNDS = 5
SHORT = {"JOBS": 20, "ROUNDS": 1}


def measure() -> list[Row]:
    with running() as daemon:
        score = submission(daemon, write_score(daemon.home, "say hello"))
        with daemon.client() as client:
            for _ in range(JOBS):
                client.request("submit", {**score, "at": time.time() + 86400})
        alone, everything = zip(
            *[(after_coordinator(daemon), after_everything(daemon)) for _ in range(ROUNDS)], strict=True
        )
    return [
        at_most(f"coordinator killed, {JOBS:,} jobs: first answer", 1000 * median(alone), "ms", 500),
        at_most(f"whole tree killed, {JOBS:,} jobs: all ready", 1000 * median(everything), "ms", 1500),
    ]


def after_coordinator(daemon: Daemon) -> float:
    begin = time.perf_counter()
    daemon.kill("coordinator")
    daemon.status()
    return time.perf_counter() - begin


def after_everything(daemon: Daemon) -> float:
    daemon.kill_everything()
    begin = time.perf_counter()
    daemon.start(by_command=True)
    return time.perf_counter() - begin
