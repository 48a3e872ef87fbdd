"""C8: what the machine has no room for spends no retry, and goes on when there is some."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.asking import ended, outcome, submit
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, wait_until
from tests.torture.disk import SmallDisk, require_mounts

Score = Callable[..., Path]

ONCE = {"max_retries": 1}
WIDE = {"enabled": True, "max_concurrent": 100}


@pytest.fixture
def started(home: Path) -> Iterator[Callable[[Daemon], Daemon]]:
    known: list[Daemon] = []

    def start(daemon: Daemon) -> Daemon:
        known.append(daemon)
        return daemon.start()

    yield start
    for daemon in known:
        check_end(daemon)


def codes(found: dict[str, Any]) -> set[str]:
    return {attempt["code"] for sheet in found["sheets"].values() for attempt in sheet["attempts"]}


def test_C08_a_worker_with_few_descriptors_offers_what_it_can_hold(
    home: Path, score: Score, started: Callable[[Daemon], Daemon]
) -> None:
    daemon = Daemon(home, {"worker_slots": 64}, workers=1)
    daemon.prefix = ("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh")
    started(daemon)
    job = submit(daemon, score(*["sleep 0.3"] * 40, parallel=WIDE, retry=ONCE))
    found = outcome(daemon, ended(daemon, job)["id"])
    assert found["state"] == "completed", found["reason"]
    assert codes(found) == {""}


def test_C08_a_worker_without_descriptors_waits_until_it_has_some(
    start_daemon: Callable[..., Daemon], score: Score
) -> None:
    daemon = start_daemon(workers=1)
    worker = daemon.pid("worker")
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{worker}/fd").iterdir()))
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 2, before[1]))
    job = submit(daemon, score(*["say hello"] * 5, parallel=WIDE, retry=ONCE))
    event = daemon.wait_for(job, "sheet.waiting")
    assert event["data"]["reason"].startswith("E010 cannot ")
    resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    found = outcome(daemon, ended(daemon, job)["id"])
    assert found["state"] == "completed", found["reason"]
    assert codes(found) == {"E010", ""}
    assert daemon.status()["workers"][0]["credit"] >= 1


def test_C08_a_full_disk_is_waited_for(home: Path, score: Score, started: Callable[[Daemon], Daemon]) -> None:
    require_mounts()
    disk = SmallDisk(home, "logs", 512)
    daemon = started(disk.daemon)
    disk.fill()
    job = submit(daemon, score("say hello", retry=ONCE))
    assert daemon.wait_for(job, "sheet.waiting")["data"]["reason"].startswith("E403 ")
    disk.make_room()
    found = outcome(daemon, ended(daemon, job)["id"])
    assert found["state"] == "completed", found["reason"]


def test_C08_ten_in_a_row_pause_the_job_and_what_is_the_agents_is_the_agents() -> None:
    from mozartd.coordinator.model import History, Policy
    from mozartd.coordinator.retry import NoRoom, Pause, decide
    from tests.unit.scenes import report

    def decided(no_room: int, **fields: Any) -> Any:
        told = report("failed", **{"code": "E010", "exit_code": None, **fields})
        return decide(told, "normal", History(no_room=no_room), Policy(full_attempts=1), 0.0, 0.5)

    waits = [decided(n) for n in range(9)]
    assert all(isinstance(each, NoRoom) for each in waits)
    assert 60 < sum(each.at for each in waits) < 200, "a disk that is full for a minute pauses nothing"
    assert isinstance(decided(9), Pause)
    assert "no room" in decided(9).reason
    assert not isinstance(decided(0, code="E009", exit_code=1), NoRoom)
    assert not isinstance(decided(0, code="E009", exit_code=None, signal=9), NoRoom)


def test_C08_an_agents_own_full_disk_is_its_own(shared_daemon: Daemon, score: Score) -> None:
    job = submit(shared_daemon, score("err cp: No space left on device\nexit 1", retry=ONCE))
    assert ended(shared_daemon, job)["state"] == "failed"
    wait_until(lambda: shared_daemon.status()["state"] == "ready")
