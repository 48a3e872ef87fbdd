"""Kill agents that left children in sessions of their own, by every way an agent ends, and count who survives.

In each batch some are killed from outside, as the kernel would for want of memory, the rest by `cancel`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial
from pathlib import Path

from tests.process.asking import submit
from tests.process.daemon import Daemon, describe, environment_of, processes_of, wait_until, write_score

BATCH = 8
SCRIPT = "setsid 1000\nsetsid 1000\nspawn 1000\nsay up\nhang"
#: The agent, two grandchildren, a child.
EACH = 4


def run(home: Path, kills: int) -> int:
    """How many agents were killed. Raises AssertionError when anything of theirs lives on."""
    daemon = Daemon(home, {"worker_slots": BATCH, "stop_grace_seconds": 0.1}).start()
    try:
        score = write_score(
            home, *[SCRIPT] * BATCH, parallel={"enabled": True, "max_concurrent": BATCH}, retry={"max_retries": 1}
        )
        killed = 0
        while killed < kills:
            killed += kill_batch(daemon, score)
        assert daemon.stop() == 0
        assert not daemon.leftovers()
    finally:
        daemon.remove()
    return killed


def kill_batch(daemon: Daemon, score: Path) -> int:
    job = submit(daemon, score)
    wait_until(lambda: len(of_job(daemon, job)) >= EACH * BATCH)
    wait_until(partial(all_up, daemon, job))
    agents = [sheet["attempts"][-1]["agent_pid"] for sheet in daemon.job(job)["sheets"]]
    for pid in agents[::2]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    daemon.request("cancel", job=job)
    daemon.wait(job)
    left = of_job(daemon, job)
    assert not left, "\n".join(map(describe, left))
    return BATCH


def all_up(daemon: Daemon, job: str) -> bool:
    attempts = [sheet["attempts"][-1:] for sheet in daemon.job(job)["sheets"]]
    return all(attempt and attempt[0]["agent_pid"] for attempt in attempts)


def of_job(daemon: Daemon, job: str) -> list[int]:
    mark = f"MOZART_ATTEMPT_ID={job}:".encode()
    return [pid for pid in processes_of(daemon.home) if any(each.startswith(mark) for each in environment_of(pid))]
