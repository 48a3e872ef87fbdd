"""A machine in trouble: no processes, threads, descriptors or memory to be had, a slow disk, a clock that is set.

Each costs the attempt or the request that met it, which is told why; the daemon stays up, says what is wrong, and recovers by
itself. The faults are made by faulty.c or by the kernel's own limits.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ipc.errors import MozartError
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, wait_until, write_score
from tests.torture.faults import Faults
from tests.torture.load import submission

Score = Callable[..., Path]
ONCE = {"max_retries": 1}


@pytest.fixture
def faulty(home: Path, statuses: object) -> Iterator[tuple[Daemon, Faults]]:
    daemon = Daemon(home)
    injected = Faults(daemon)
    daemon.environment["NOTIFY_SOCKET"] = str(home / "notify")
    yield daemon.start(), injected
    injected.end()
    check_end(daemon)
    injected.close()


def attempt_of(daemon: Daemon, job: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.job(job)["sheets"][0]["attempts"][-1]
    return found


def submit(daemon: Daemon, score: Path) -> str:
    return str(daemon.request("submit", **submission(score))["job"])


def is_well(daemon: Daemon) -> bool:
    return bool(daemon.status()["state"] == "ready")


@contextmanager
def limited(pid: int, what: int, most: int) -> Iterator[None]:
    """The kernel gives this process no more than that."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


# ---- processes and threads ------------------------------------------------------------------------------------------


def test_workers_that_cannot_fork_fail_the_attempt_and_say_so(
    faulty: tuple[Daemon, Faults], score: Score, tmp_path: Path, statuses: Callable[[], list[str]]
) -> None:
    daemon, injected = faulty
    pids = [worker["pid"] for worker in daemon.status()["workers"]]
    running = submit(daemon, score("gate go\nsay done", name="before"))
    wait_until((tmp_path / "workspace" / "go").exists)
    injected.no_children(-1, errno.ENOMEM)
    job = submit(daemon, score("say hello", retry=ONCE))
    daemon.wait_for(job, "sheet.waiting")
    attempt = attempt_of(daemon, job)
    assert (attempt["code"], attempt["exit_code"]) == ("E010", None)
    assert attempt["message"].startswith("cannot start ")
    assert "Cannot allocate memory" in attempt["message"]
    status = daemon.status()
    assert status["state"] == "degraded"
    assert "Cannot allocate memory" in status["reason"]
    wait_until(lambda: any("degraded: cannot start " in told for told in statuses()))
    injected.end()
    with open(tmp_path / "workspace" / "go", "w"):
        pass
    assert daemon.wait(running)["state"] == "completed", "what ran already was not touched"
    assert daemon.wait(job)["state"] == "completed", "no retry was spent"
    assert daemon.wait(daemon.run(score("say hello")))["state"] == "completed"
    assert is_well(daemon)
    wait_until(lambda: statuses()[-1] == "running, 2 workers")
    assert [worker["pid"] for worker in daemon.status()["workers"]] == pids


def test_a_coordinator_that_gets_no_thread_refuses_the_request(faulty: tuple[Daemon, Faults], score: Score) -> None:
    daemon, injected = faulty
    pid = daemon.pid("coordinator")
    injected.no_children(pid, errno.EAGAIN)
    with pytest.raises(MozartError) as caught:
        submit(daemon, score("say hello"))
    assert caught.value.code == "E010"
    assert caught.value.message.startswith("cannot start a thread")
    assert not daemon.request("list", all=True)["jobs"]
    injected.end()
    assert daemon.wait(submit(daemon, score("say hello")))["state"] == "completed"
    assert daemon.pid("coordinator") == pid


def test_a_supervisor_that_cannot_fork_goes_on_with_who_is_left(
    faulty: tuple[Daemon, Faults], score: Score, statuses: Callable[[], list[str]]
) -> None:
    daemon, injected = faulty
    injected.no_children(daemon.pid("supervisor"), errno.EAGAIN)
    daemon.kill("worker")
    wait_until(lambda: daemon.status()["state"] == "degraded")
    assert "cannot start worker" in daemon.status()["reason"]
    wait_until(lambda: any("degraded: cannot start worker" in told for told in statuses()))
    assert daemon.wait(submit(daemon, score("say by the other one")))["state"] == "completed"
    injected.end()
    wait_until(daemon.is_ready)
    wait_until(lambda: statuses()[-1] == "running, 2 workers")


# ---- descriptors and memory -----------------------------------------------------------------------------------------


def lowest_free(pid: int) -> int:
    """The descriptor that it would get next."""
    used = set(map(int, os.listdir(f"/proc/{pid}/fd")))
    return next(n for n in range(len(used) + 1) if n not in used)


def test_who_comes_while_there_is_no_descriptor_is_served_when_there_is(daemon: Daemon, score: Score) -> None:
    pid = daemon.pid("coordinator")
    answers: list[Any] = []
    with daemon.client() as client:
        client.request("daemon.status")
        with limited(pid, resource.RLIMIT_NOFILE, lowest_free(pid)):
            late = threading.Thread(target=lambda: answers.append(daemon.status()))
            late.start()
            wait_until(lambda: client.request("daemon.status")["state"] == "degraded")
            assert "Too many open files" in client.request("daemon.status")["reason"]
            assert not answers
        late.join(20)
        assert answers, "it was hung up on"
        wait_until(lambda: client.request("daemon.status")["state"] == "ready")
    assert daemon.wait(daemon.run(score("say hello")))["state"] == "completed"
    assert daemon.pid("coordinator") == pid


def test_a_worker_without_descriptors_spares_what_runs_already(
    start_daemon: Callable[..., Daemon], score: Score, tmp_path: Path
) -> None:
    daemon = start_daemon({"worker_slots": 3}, workers=1)
    worker = daemon.pid("worker")
    running = daemon.run(score("gate go\nsay done", name="before"))
    wait_until((tmp_path / "workspace" / "go").exists)
    daemon.wait_for(running, "attempt.started")
    # At each number of descriptors it fails at another place: log, pipes, stdin, pidfd.
    for spare in range(8):
        with limited(worker, resource.RLIMIT_NOFILE, lowest_free(worker) + spare):
            job = submit(daemon, score("say hello", retry=ONCE))
            first = next(event for event in daemon.events(job) if event["type"] in ("sheet.waiting", "sheet.completed"))
            if first["type"] == "sheet.completed":
                break
            attempt = daemon.job(job)["sheets"][0]["attempts"][0]
            daemon.request("cancel", job=job)
            assert attempt["code"] == "E010", attempt
            assert attempt["message"].startswith("cannot ")
            assert "Too many open files" in attempt["message"]
    assert spare > 3, "nothing was short"
    with open(tmp_path / "workspace" / "go", "w"):
        pass
    assert daemon.wait(running)["state"] == "completed"
    assert daemon.wait(daemon.run(score("say hello")))["state"] == "completed"
    assert daemon.pid("worker") == worker


def memory(pid: int) -> int:
    """Bytes of address space."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_a_request_that_needs_more_memory_than_there_is_is_refused(daemon: Daemon, score: Score) -> None:
    pid = daemon.pid("coordinator")
    huge = submission(score("say hello"))
    huge["score"]["description"] = "x" * 12_000_000
    with daemon.client() as client:
        client.request("daemon.status")
        with limited(pid, resource.RLIMIT_AS, memory(pid) + 4_000_000):
            with pytest.raises(MozartError) as caught:
                daemon.request("submit", **huge)
            assert "memory" in caught.value.message, caught.value
            assert client.request("daemon.status")["state"] == "ready"
    assert daemon.wait(daemon.run(score("say hello")))["state"] == "completed"
    assert daemon.pid("coordinator") == pid


# ---- the clock ------------------------------------------------------------------------------------------------------


def seconds_until(job: dict[str, Any]) -> float:
    (sheet,) = job["sheets"]
    return datetime.fromisoformat(sheet["until"]).timestamp() - time.time() if sheet["until"] else 0.0


def test_a_hold_ends_on_its_time_when_the_clock_is_set_forward(faulty: tuple[Daemon, Faults], score: Score) -> None:
    daemon, injected = faulty
    daemon.request("hold", scope="command", seconds=3600)
    held = submit(daemon, score("say at last"))
    later = str(daemon.request("submit", **submission(score("say", name="later")), at=time.time() + 7200)["job"])
    assert daemon.request("limits")["holds"]
    injected.set_clock(3601)
    assert daemon.wait(held)["state"] == "completed"
    assert not daemon.request("limits")["holds"]
    assert daemon.job(later)["job"]["state"] == "queued", "it is not its time"
    injected.set_clock(7300)
    assert daemon.wait(later)["state"] == "completed"


def test_nothing_hangs_or_runs_early_when_the_clock_is_set_back(faulty: tuple[Daemon, Faults], score: Score) -> None:
    daemon, injected = faulty
    retried = submit(daemon, score("attempt 1: exit 1\nsay better", retry={"base_delay_seconds": 2}))
    daemon.wait_for(retried, "sheet.waiting")
    later = str(daemon.request("submit", **submission(score("say", name="later")), at=time.time() + 60)["job"])
    paused = submit(daemon, score("say one", "say two", name="paused", pause_between_sheets_seconds=1))
    daemon.wait_for(paused, "sheet.completed")
    injected.set_clock(-86400)
    assert daemon.wait(retried, 10)["state"] == "completed"
    assert daemon.wait(paused, 10)["state"] == "completed"
    assert daemon.job(later)["job"]["state"] == "queued"
    injected.set_clock(61)
    assert daemon.wait(later)["state"] == "completed"


# ---- a slow disk ----------------------------------------------------------------------------------------------------


def test_a_slow_disk_stops_neither_lines_nor_the_beat(home: Path, tmp_path: Path) -> None:
    daemon = Daemon(home, {"liveness_seconds": 5}, workers=1)
    injected = Faults(daemon)
    daemon.start()
    try:
        pids = (daemon.pid("coordinator"), daemon.pid("worker"))
        # Others keep the disk busy all the while.
        many = {"parallel": {"enabled": True, "max_concurrent": 2}}
        injected.slow_syncs(0.2)
        busy = submit(daemon, write_score(tmp_path / "..", *["say hello"] * 6, name="busy", **many))
        job = submit(daemon, write_score(tmp_path, "tick 20 0.1"))
        with daemon.client() as client:
            client.request("logs.follow", {"job": job, "follow": True})
            late = list(latenesses(client.notifications()))
        assert len(late) == 20
        assert sorted(late)[18] < 0.15, late
        assert daemon.wait(busy)["state"] == "completed"
        assert (daemon.pid("coordinator"), daemon.pid("worker")) == pids
        injected.end()
    finally:
        check_end(daemon)
        injected.close()


def latenesses(notifications: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[float]:
    """Seconds between each line's writing and its coming here."""
    for method, params in notifications:
        if method == "logs.end":
            return
        for line in params["text"].splitlines():
            yield time.monotonic() - int(line.split()[-1]) / 1e9
