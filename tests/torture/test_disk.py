"""A full disk: a clear error for who is hit, and everything goes on afterwards."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc.errors import MozartError
from mozartd.backoff import TOLERATED_REFUSALS
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, wait_until
from tests.torture.disk import SmallDisk, require_mounts
from tests.torture.load import submission

Score = Callable[..., Path]


@pytest.fixture
def small_disk(home: Path) -> Iterator[Callable[..., SmallDisk]]:
    require_mounts()
    made = []

    def make(name: str, kilobytes: int, **settings: Any) -> SmallDisk:
        disk = SmallDisk(home, name, kilobytes, settings)
        disk.daemon.start()
        made.append(disk)
        return disk

    yield make
    for disk in made:
        check_end(disk.daemon)


def refusal(daemon: Daemon, score: Path) -> MozartError:
    with pytest.raises(MozartError) as caught:
        daemon.request("submit", **submission(score))
    return caught.value


def state_of(daemon: Daemon) -> str:
    return str(daemon.status()["state"])


def attempt_of(daemon: Daemon, job: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.job(job)["sheets"][0]["attempts"][0]
    return found


def test_a_submission_that_cannot_be_saved_is_refused_and_a_later_one_taken(
    small_disk: Callable[..., SmallDisk], score: Score
) -> None:
    disk = small_disk("state", 2048)
    disk.fill()
    error = refusal(disk.daemon, score("say hello"))
    assert error.code == "E403"
    assert "full" in error.message
    assert "room" in error.hint
    assert not disk.daemon.request("list", all=True)["jobs"]
    disk.make_room()
    assert disk.daemon.wait(disk.daemon.run(score("say hello")))["state"] == "completed"


def test_a_full_disk_is_told_and_recovered_from(
    small_disk: Callable[..., SmallDisk], score: Score, tmp_path: Path
) -> None:
    disk = small_disk("state", 2048)
    daemon = disk.daemon
    job = daemon.run(score("gate go\nsay done"))
    wait_until((tmp_path / "workspace" / "go").exists)
    daemon.wait_for(job, "attempt.started")
    disk.fill()
    with pytest.raises(MozartError) as caught:
        daemon.request("priority", job=job, priority=7)
    assert caught.value.code == "E403"
    status = daemon.status()
    assert status["state"] == "degraded"
    assert "full" in status["reason"]
    assert refusal(daemon, score("say hello", name="other")).code == "E403"
    with open(tmp_path / "workspace" / "go", "w"):
        pass
    disk.make_room()
    wait_until(lambda: state_of(daemon) == "ready")
    assert daemon.wait(job)["state"] == "completed"
    assert daemon.job(job)["job"]["priority"] == 7, "what was refused for want of room was kept"


def test_a_coordinator_that_dies_on_a_full_disk_serves_again(
    small_disk: Callable[..., SmallDisk], score: Score
) -> None:
    disk = small_disk("state", 2048)
    job = disk.daemon.run(score("say hello"))
    disk.daemon.wait(job)
    disk.fill()
    disk.daemon.kill("coordinator")
    wait_until(lambda: state_of(disk.daemon) == "degraded")
    assert disk.daemon.job(job)["job"]["state"] == "completed"
    disk.make_room()
    wait_until(lambda: state_of(disk.daemon) == "ready")
    assert disk.daemon.wait(disk.daemon.run(score("say again")))["state"] == "completed"


def test_a_database_out_of_reach_is_tried_until_it_is_back(
    start_daemon: Callable[..., Daemon], score: Score, tmp_path: Path
) -> None:
    daemon = start_daemon()
    coordinator, state = daemon.pid("coordinator"), daemon.home / "state"
    files = sorted(state.glob("mozart.db*"))
    for file in files:
        file.rename(tmp_path / file.name)
    (state / "mozart.db").mkdir()
    os.kill(coordinator, signal.SIGKILL)
    refused = r"coordinator\[\d+\] error cannot open the database .*; hint: check that its directory exists"
    wait_until(lambda: len(re.findall(refused, daemon.printed())) > TOLERATED_REFUSALS)
    (state / "mozart.db").rmdir()
    for file in files:
        (tmp_path / file.name).rename(file)
    assert daemon.wait(daemon.run(score("say hello")))["state"] == "completed"


def test_a_disk_too_small_for_a_database_is_told_at_the_start(home: Path) -> None:
    require_mounts()
    daemon = SmallDisk(home, "state", 64).daemon
    with pytest.raises(AssertionError, match=r"cannot write to the database .* full; hint: make room on the disk"):
        daemon.start()
    check_end(daemon)


def test_a_full_disk_for_logs_ends_that_attempt_with_a_sentence(
    small_disk: Callable[..., SmallDisk], score: Score
) -> None:
    disk = small_disk("logs", 512)
    daemon = disk.daemon
    job = daemon.run(score("flood 2000000", retry={"max_retries": 1}))
    daemon.wait_for(job, "sheet.waiting")
    attempt = attempt_of(daemon, job)
    daemon.request("cancel", job=job)
    daemon.wait(job)
    assert attempt["code"] == "E403"
    assert "No space left" in attempt["message"]
    assert "room" in attempt["hint"]
    log = (disk.inside / job / "1.1.log").read_bytes()
    assert len(log) > 400_000, "what there was room for is kept"
    assert log.endswith(b"\n"), "whole records, to the last"
    for left in (disk.inside / job).iterdir():
        left.unlink()
    assert daemon.wait(daemon.run(score("say there is room again")))["state"] == "completed"
