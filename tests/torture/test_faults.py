"""The coordinator dies or is refused at each of its writes to the database: what it acknowledged holds, and it goes on."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.errors import MozartError
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, wait_until
from tests.torture import invariants
from tests.torture.faults import AFTER, BEFORE, Faults
from tests.torture.load import submission

Score = Callable[..., Path]

#: Write points that are tried; all of those that a submission and its run pass in the long form.
POINTS = int(os.environ.get("TORTURE_POINTS", "8"))


@pytest.fixture
def faulty(home: Path) -> Iterator[tuple[Daemon, Faults]]:
    daemon = Daemon(home)
    faults = Faults(daemon)
    yield daemon.start(), faults
    faults.end()
    check_end(daemon)
    assert not list(invariants.broken_database(home)) if (home / "state").is_dir() else True


def submit(daemon: Daemon, score: Path) -> str:
    """The job, '' when nobody acknowledged it."""
    try:
        return str(daemon.request("submit", **submission(score))["job"])
    except MozartError:
        return ""


@pytest.mark.timeout(120)
def test_a_death_at_any_write_point_loses_nothing_acknowledged(faulty: tuple[Daemon, Faults], score: Score) -> None:
    daemon, faults = faulty
    path = score("say one", "attempt 1: exit 1\nsay two")
    faults.fail(0)
    daemon.wait(submit(daemon, path))
    points = count_points(daemon, faults, path)
    seed = random.SystemRandom().randrange(2**32)
    print(f"{points} write points, seed {seed}")
    chosen = random.Random(seed).sample(range(points), min(POINTS, points))
    for n in chosen:
        before = daemon.pid("coordinator")
        faults.kill_at(n, random.Random(n).choice((BEFORE, AFTER)))
        job = submit(daemon, path)
        wait_until(lambda: has_died_or_done(daemon, before, job))
        faults.end()
        wait_until(daemon.is_ready)
        if job:
            assert daemon.wait(job)["state"] == "completed", f"write point {n}"
            assert not list(invariants.lasting(daemon, job))
        assert daemon.request("list")["jobs"] == []


def count_points(daemon: Daemon, faults: Faults, path: Path) -> int:
    faults.kill_at(10**6, BEFORE)
    assert daemon.wait(submit(daemon, path))["state"] == "completed"
    found = faults.seen
    faults.end()
    assert found > 4
    return found


def has_died_or_done(daemon: Daemon, before: int, job: str) -> bool:
    try:
        return daemon.pid("coordinator") != before or bool(job and daemon.job(job)["job"]["state"] == "completed")
    except MozartError:
        return False


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_writes_that_fail_degrade_and_recover(faulty: tuple[Daemon, Faults], score: Score, number: int) -> None:
    daemon, faults = faulty
    job = daemon.run(score("say waiting\nhang"))
    daemon.wait_for(job, "attempt.started")
    pid = daemon.pid("coordinator")
    faults.fail(number)
    with pytest.raises(MozartError) as caught:
        daemon.request("cancel", job=job)
    assert caught.value.code == "E403"
    assert daemon.status()["state"] == "degraded"
    assert submit(daemon, score("say no", name="refused")) == ""
    faults.end()
    wait_until(lambda: daemon.status()["state"] == "ready")
    assert daemon.wait(job)["state"] == "cancelled"
    assert daemon.wait(submit(daemon, score("say yes", name="taken")))["state"] == "completed"
    assert daemon.pid("coordinator") == pid
