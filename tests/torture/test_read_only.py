"""A disk that becomes read-only under a running daemon, and writable again.

The kernel refuses to remount a disk on which a file is open for writing, unless it is the disk that fails; so it is a real one
where the daemon has none open, and faulty.c where it has.
"""

from __future__ import annotations

import errno
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.errors import MozartError
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, wait_until
from tests.torture.disk import SmallDisk, require_mounts
from tests.torture.faults import Faults
from tests.torture.load import submission

Score = Callable[..., Path]
Statuses = Callable[[], list[str]]
ONCE = {"max_retries": 1}


@pytest.fixture
def settings() -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return {"metrics_address": f"127.0.0.1:{free.getsockname()[1]}"}


@pytest.fixture
def faulty(
    home: Path, statuses: Statuses, settings: dict[str, str]
) -> Iterator[Callable[[str], tuple[Daemon, Faults]]]:
    made: list[tuple[Daemon, Faults]] = []

    def make(part: str) -> tuple[Daemon, Faults]:
        """Faults are for files of `part`."""
        daemon = Daemon(home, settings)
        daemon.environment["NOTIFY_SOCKET"] = str(home / "notify")
        made.append((daemon, Faults(daemon, part)))
        daemon.start()
        return made[0]

    yield make
    for daemon, injected in made:
        injected.end()
        check_end(daemon)
        injected.close()


def refusal(daemon: Daemon, method: str, **params: object) -> MozartError:
    with pytest.raises(MozartError) as caught:
        daemon.request(method, **params)
    return caught.value


def is_said(daemon: Daemon, statuses: Statuses, settings: dict[str, str], reason: str) -> bool:
    """Everywhere, that it is degraded and why; or, when there is no reason, that all is well."""
    status = daemon.status()
    with urllib.request.urlopen(f"http://{settings['metrics_address']}/metrics", timeout=10) as answer:
        is_counted = b"\nmozart_degraded 1.0\n" in answer.read()
    told = statuses()[-1]
    if not reason:
        return bool(status["state"] == "ready" and not is_counted and told == "running, 2 workers")
    assert reason in status["reason"]
    return bool(status["state"] == "degraded" and is_counted and "degraded: " in told and reason in told)


def test_a_read_only_state_is_told_and_recovered_from(
    faulty: Callable[[str], tuple[Daemon, Faults]], score: Score, tmp_path: Path, statuses: Statuses,
    settings: dict[str, str],
) -> None:  # fmt: skip
    daemon, injected = faulty("/state/")
    job = daemon.run(score("gate go\nsay done"))
    wait_until((tmp_path / "workspace" / "go").exists)
    daemon.wait_for(job, "attempt.started")
    supervisor = daemon.pid("supervisor")
    injected.fail(errno.EROFS)
    for error in (
        refusal(daemon, "priority", job=job, priority=7),
        refusal(daemon, "submit", **submission(score("say", name="other"))),
    ):
        assert error.code == "E403"
        assert "the disk is read-only" in error.message
        assert "writable" in error.hint
    wait_until(lambda: is_said(daemon, statuses, settings, "read-only"))
    # The next one opens a database on a disk that is read-only already.
    daemon.kill("coordinator")
    wait_until(lambda: daemon.request("list", all=True)["jobs"])
    wait_until(lambda: is_said(daemon, statuses, settings, "read-only"))
    with open(tmp_path / "workspace" / "go", "w"):
        pass
    injected.end()
    assert daemon.wait(job)["state"] == "completed", "what ran already was not touched"
    wait_until(lambda: is_said(daemon, statuses, settings, ""))
    assert daemon.wait(daemon.run(score("say hello", name="later")))["state"] == "completed"
    assert daemon.pid("supervisor") == supervisor
    injected.fail(errno.EROFS)
    assert daemon.stop() == 0, "it could not put away its pid file"


def test_a_daemon_is_not_started_on_a_read_only_disk(home: Path) -> None:
    require_mounts()
    disk = SmallDisk(home, "state", 2048, how="ro")
    with pytest.raises(
        AssertionError, match=r"critical cannot open .*lock: Read-only .*; hint: make its disk writable"
    ):
        disk.daemon.start()
    check_end(disk.daemon)


def test_logs_that_become_read_only_end_the_attempt_that_writes_them(
    faulty: Callable[[str], tuple[Daemon, Faults]], score: Score, tmp_path: Path, statuses: Statuses,
    settings: dict[str, str],
) -> None:  # fmt: skip
    daemon, injected = faulty("/logs/")
    job = daemon.run(score("say before\ngate go\nsay after\nhang", retry=ONCE))
    wait_until((tmp_path / "workspace" / "go").exists)
    injected.fail(errno.EROFS)
    with open(tmp_path / "workspace" / "go", "w"):
        pass
    daemon.wait_for(job, "sheet.waiting")
    attempt, *_ = daemon.job(job)["sheets"][0]["attempts"]
    assert (attempt["code"], "Read-only" in attempt["message"]) == ("E403", True), attempt
    assert "writable" in attempt["hint"]
    wait_until(lambda: is_said(daemon, statuses, settings, "Read-only"))
    injected.end()
    # It is the machine's fault: the sheet would run again, and hang.
    daemon.request("cancel", job=job)
    assert daemon.wait(daemon.run(score("say hello", name="later")))["state"] == "completed"
    wait_until(lambda: is_said(daemon, statuses, settings, ""))


def test_a_read_only_disk_for_logs_is_told_and_recovered_from(
    home: Path, score: Score, statuses: Statuses, settings: dict[str, str]
) -> None:
    require_mounts()
    disk = SmallDisk(home, "logs", 2048, settings)
    daemon = disk.daemon
    daemon.environment["NOTIFY_SOCKET"] = str(home / "notify")
    daemon.start()
    try:
        disk.remount("ro")
        job = daemon.run(score("say hello", retry=ONCE))
        daemon.wait_for(job, "sheet.waiting")
        attempt, *_ = daemon.job(job)["sheets"][0]["attempts"]
        assert (attempt["code"], "Read-only" in attempt["message"]) == ("E403", True), attempt
        wait_until(lambda: is_said(daemon, statuses, settings, "Read-only"))
        disk.remount("rw")
        assert daemon.wait(job)["state"] == "completed", "the machine's fault spends no retry"
        assert daemon.wait(daemon.run(score("say hello", name="later")))["state"] == "completed"
        wait_until(lambda: is_said(daemon, statuses, settings, ""))
    finally:
        check_end(daemon)
