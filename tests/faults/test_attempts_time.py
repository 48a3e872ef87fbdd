"""B4: TIME is the time in which it ran, and one figure everywhere."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from tests.process.asking import ended, outcome, submit
from tests.process.daemon import Daemon, wait_until

Score = Callable[..., Path]


def time_of(line: str) -> float:
    return float(re.findall(r"\b([\d.]+)s\b", line)[0])


def test_B04_a_wait_for_a_retry_is_no_work(shared_daemon: Daemon, score: Score) -> None:
    slow = {"max_retries": 2, "base_delay_seconds": 2.0}
    path = score("sleep 0.3\nattempt 1: exit 1\nattempt 2: exit 2", retry=slow)
    done = shared_daemon.mozart("run", path)
    assert done.returncode == 1
    said = next(line for line in done.stdout.splitlines() + done.stderr.splitlines() if " failed in " in line)
    job = next(line for line in done.stdout.splitlines() if " failed: 1 failed" in line)
    row = next(line for line in done.stdout.splitlines() if re.match(r"1\s+failed", line))
    assert time_of(said.partition(" in ")[2]) == time_of(row)
    for line in (row, job):
        assert 0.5 < time_of(line) < 1.8, "without the two seconds between the two"


def test_B04_what_lies_between_a_failure_and_a_persons_retry_is_no_work(shared_daemon: Daemon, score: Score) -> None:
    job = submit(shared_daemon, score("attempt 1: exit 1\nhang", retry={"max_retries": 1}))
    ended(shared_daemon, job)
    before = time.time()
    wait_until(lambda: time.time() > before + 1.5)
    assert shared_daemon.mozart("retry", job).returncode == 0
    wait_until(lambda: len(outcome(shared_daemon, job)["sheets"][1]["attempts"]) == 2)
    shared_daemon.request("cancel", job=job)
    found = ended(shared_daemon, job)
    assert found["ran_seconds"] < 1.4
    assert found["ran_since"] is None


def test_B04_the_absence_of_the_daemon_is_no_work(start_daemon: Callable[..., Daemon], score: Score) -> None:
    daemon = start_daemon(workers=1)
    job = submit(daemon, score("attempt 1: hang\nsay done"))
    daemon.wait_for(job, "attempt.started")
    daemon.kill_everything()
    gone = time.time()
    wait_until(lambda: time.time() > gone + 2.0)
    daemon.start()
    found = outcome(daemon, ended(daemon, job)["id"])
    assert found["state"] == "completed"
    assert found["ran_seconds"] < 1.9
    row = next(line for line in daemon.mozart("status", job).stdout.splitlines() if re.match(r"1\s+completed", line))
    assert time_of(row) < 1.9
    assert os.path.exists(daemon.home)
