"""The coordinator dies or is refused at each of its writes to the database: what it acknowledged holds, and it goes on."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.errors import MozartError
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, wait_until
from tests.torture import faults
from tests.torture.faults import Faults

Score = Callable[..., Path]


@pytest.fixture
def faulty(home: Path) -> Iterator[tuple[Daemon, Faults]]:
    daemon = Daemon(home)
    injected = Faults(daemon)
    yield daemon.start(), injected
    injected.end()
    check_end(daemon)
    injected.close()


@pytest.mark.timeout(120)
def test_a_death_at_any_write_point_loses_nothing_acknowledged(faulty: tuple[Daemon, Faults], score: Score) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"again: python -m tests.torture writes --points 4 --seed {seed}")
    faults.die_at_points(*faulty, score("say one", "attempt 1: exit 1\nsay two"), 4, random.Random(seed))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_writes_that_fail_degrade_and_recover(faulty: tuple[Daemon, Faults], score: Score, number: int) -> None:
    daemon, injected = faulty
    job = daemon.run(score("say waiting\nhang"))
    daemon.wait_for(job, "attempt.started")
    pid = daemon.pid("coordinator")
    injected.fail(number)
    with pytest.raises(MozartError) as caught:
        daemon.request("cancel", job=job)
    assert caught.value.code == "E403"
    assert daemon.status()["state"] == "degraded"
    assert faults.submit(daemon, score("say no", name="refused")) == ""
    injected.end()
    wait_until(lambda: daemon.status()["state"] == "ready")
    assert daemon.wait(job)["state"] == "cancelled"
    assert daemon.wait(faults.submit(daemon, score("say yes", name="taken")))["state"] == "completed"
    assert daemon.pid("coordinator") == pid
