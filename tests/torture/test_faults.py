"""The coordinator dies or is refused at its writes to the database: what it acknowledged holds, and it goes on. Long:
`make torture`."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.errors import MozartError
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, wait_until
from tests.torture import writes
from tests.torture.faults import Faults
from tests.torture.load import submission

Score = Callable[..., Path]
#: Of the short form.
POINTS = 8


@pytest.fixture
def faulty(home: Path) -> Iterator[tuple[Daemon, Faults]]:
    daemon = Daemon(home)
    injected = Faults(daemon)
    yield daemon.start(), injected
    injected.end()
    check_end(daemon)
    injected.close()


@pytest.mark.timeout(120)
def test_what_goes_wrong_at_any_write_loses_nothing_acknowledged() -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"again: python -m tests.torture writes --points {POINTS} --seed {seed}")
    writes.run(POINTS, random.Random(seed))


def test_writes_that_fail_degrade_and_recover(faulty: tuple[Daemon, Faults], score: Score) -> None:
    daemon, injected = faulty
    job = daemon.run(score("say waiting\nhang"))
    daemon.wait_for(job, "attempt.started")
    pid = daemon.pid("coordinator")
    injected.fail(errno.EIO)
    with pytest.raises(MozartError) as caught:
        daemon.request("cancel", job=job)
    assert caught.value.code == "E403"
    assert daemon.status()["state"] == "degraded"
    with pytest.raises(MozartError) as caught:
        daemon.request("submit", **submission(score("say no", name="refused")))
    assert caught.value.code == "E403"
    injected.end()
    wait_until(lambda: daemon.status()["state"] == "ready")
    assert daemon.wait(job)["state"] == "cancelled"
    assert daemon.wait(daemon.run(score("say yes", name="taken")))["state"] == "completed"
    assert daemon.pid("coordinator") == pid
