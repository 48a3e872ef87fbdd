"""USR2: the supervisor becomes what is installed now, with the same pid; running agents and clients notice nothing.

The daemon runs from a copy of the checkout, so that other code can be installed under it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ipc import VERSION
from ipc.client import NotTaken
from tests import ROOT
from tests.conventions.tree import PACKAGES
from tests.process.asking import following, open_gate, submission, submit
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, is_alive, processes_of, wait_until
from tests.process.test_following import read

Score = Callable[..., Path]

#: The copy before everything else, also before a checkout that is installed.
SCRIPT = """#!{python}
import sys
sys.path.insert(0, {root!r})
from mozartd.entry import {name}
sys.exit({name}())
"""


class Installed:
    """A copy of the packages, and a daemon that runs from it."""

    def __init__(self, home: Path) -> None:
        self.place = home / "installed"
        for package in PACKAGES:
            shutil.copytree(ROOT / package, self.place / package)
        self.daemon = Daemon(home)
        self.daemon.installed = self.place
        for name in ("mozart", "mozartd"):
            (home / "bin" / name).write_text(SCRIPT.format(python=sys.executable, root=str(self.place), name=name))

    def change(self, path: str, old: str, new: str) -> None:
        file = self.place / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        # As long as before, and in the same second: what was compiled of it would be taken for what it is now.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            compiled.unlink()

    def install(self, version: str) -> None:
        self.change("ipc/__init__.py", f'VERSION = "{self.version()}"', f'VERSION = "{version}"')

    def version(self) -> str:
        found = re.search(r'^VERSION = "(.*)"', (self.place / "ipc" / "__init__.py").read_text(), re.MULTILINE)
        assert found
        return found[1]

    def upgrade(self) -> subprocess.CompletedProcess[str]:
        return self.daemon.mozartd("upgrade", "--json", timeout=60)


@pytest.fixture
def installed(home: Path) -> Iterator[Installed]:
    found = Installed(home)
    found.daemon.start()
    yield found
    check_end(found.daemon)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


def inventory(pid: int) -> list[str]:
    """What a process has open, without the numbers of what is anonymous."""
    found = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd") if os.path.islink(entry.path)]
    return sorted(re.sub(r"\[\d+\]", "", name) for name in found)


def worker_pids(daemon: Daemon) -> set[int]:
    return {worker["pid"] for worker in daemon.status()["workers"]}


def test_a_running_agent_and_its_follower_notice_nothing(installed: Installed, score: Score, workspace: Path) -> None:
    daemon = installed.daemon
    job = submit(daemon, score("tick 60 0.05\ngate go\nsay done", "say after"))
    daemon.wait_for(job, "attempt.started")
    before, supervisor, coordinator = worker_pids(daemon), daemon.pid("supervisor"), daemon.pid("coordinator")
    open_before = inventory(supervisor)
    (sheet, _) = daemon.job(job)["sheets"]
    agent, its_worker = sheet["attempts"][0]["agent_pid"], sheet["attempts"][0]["worker_pid"]
    follower = daemon.popen("logs", "-f", job, "--raw")
    with following(daemon, job) as client:
        taken = read(client, until=lambda taken: bool(taken.output().count(b"\n") > 3))
        installed.install("9.9.9")
        assert json.loads(installed.upgrade().stdout) == {
            "pid": supervisor, "state": "ready", "version": "9.9.9", "before": VERSION,
        }  # fmt: skip
    status = daemon.status()
    assert (status["pid"], status["version"]) == (supervisor, "9.9.9")
    assert daemon.pid("coordinator") != coordinator
    assert worker_pids(daemon) & before == {its_worker}, "the one that runs something drains, the other is gone"
    assert inventory(supervisor) == sorted([*open_before, "/memfd:mozart-liveness (deleted)"]), (
        "its drainer's and no other"
    )
    assert is_alive(agent)
    with following(daemon, job, cursors=taken.cursors()) as client:
        open_gate(workspace / "go")
        read(client, taken)
    lines = taken.output().splitlines()
    assert [line.split()[0] for line in lines] == [*(str(n).encode() for n in range(60)), b"done"]
    assert follower.communicate(timeout=30)[0].splitlines()[: len(lines)] == lines
    assert follower.returncode == 0
    found = daemon.job(job)
    assert found["job"]["state"] == "completed"
    assert [len(each["attempts"]) for each in found["sheets"]] == [1, 1]
    assert found["sheets"][0]["attempts"][0]["exit_code"] == 0
    assert found["sheets"][1]["attempts"][0]["worker_pid"] not in before, "a worker that drains takes nothing new"
    wait_until(lambda: not worker_pids(daemon) & before)


def test_twice_in_a_row_and_killed_right_after(installed: Installed, score: Score) -> None:
    daemon = installed.daemon
    job = submit(daemon, score("say begun\nsetsid 1000\nhang"))
    daemon.wait_for(job, "attempt.started")
    agent = daemon.job(job)["sheets"][0]["attempts"][0]["agent_pid"]
    assert daemon.process
    first = subprocess.Popen([daemon.scripts / "mozartd", "upgrade"], env=daemon.environment, stdout=subprocess.PIPE)
    second = installed.upgrade()
    assert first.communicate(timeout=60)[0]
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert installed.upgrade().returncode == 0
    assert is_alive(agent)
    assert sorted(os.listdir(daemon.home / "run")) == ["mozartd.pid", "mozartd.sock", "workers.sock"]
    seen = daemon.printed().count("took over from")
    daemon.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: daemon.printed().count("took over from") > seen)
    daemon.process.kill()
    wait_until(lambda: not processes_of(daemon.home))
    daemon.start()
    daemon.wait_for(job, "attempt.finished")
    assert daemon.job(job)["sheets"][0]["attempts"][0]["verdict"] == "interrupted"


def test_what_does_not_work_replaces_nothing(installed: Installed) -> None:
    """A program that does not import, settings that are wrong, a database from the future, a handover nobody knows."""
    daemon, config = installed.daemon, installed.daemon.home / "config.yaml"
    before = (daemon.pid("supervisor"), daemon.pid("coordinator"), worker_pids(daemon))

    def refused(code: int = 1) -> str:
        done = installed.upgrade()
        assert done.returncode == code
        message: str = json.loads(done.stdout)["error"]["message"]
        assert message.startswith("cannot upgrade: ")
        assert (daemon.pid("supervisor"), daemon.pid("coordinator"), worker_pids(daemon)) == before
        return message

    good = config.read_text()
    config.write_text("workerz: 3\n")
    assert "cannot use the setting workerz in" in refused()
    config.write_text(f"prices: {daemon.home}/none.yaml\n")
    assert "cannot read the prices in" in refused()
    config.write_text(good)
    installed.change("mozartd/handover.py", "FORMAT = 1", "FORMAT = 2")
    assert "hands over in format 1, this Mozart knows 2" in refused()
    installed.change("mozartd/handover.py", "FORMAT = 2", "FORMAT = 1")
    newest = max((installed.place / "mozartd" / "store" / "migrations").iterdir())
    newest.rename(installed.place / "taken away")
    known = int(newest.name[:4]) - 1
    assert f"it has version {known + 1}, this Mozart knows {known}" in refused()
    (installed.place / "taken away").rename(newest)
    (installed.place / "workers" / "main.py").write_text("import nothing_like_it\n")
    assert "No module named 'nothing_like_it'" in refused()
    assert daemon.process
    assert daemon.printed().count("error not upgraded: ") == 5


def test_what_is_asked_meanwhile_is_answered_once(daemon: Daemon, score: Score) -> None:
    """By one coordinator or by its successor: nobody who asks while they change loses an answer, or gets two jobs."""
    question = submission(daemon, score("say hello"), at=time.time() + 3600)
    config = daemon.home / "config.yaml"
    settings, given, over = json.loads(config.read_text()), list[str](), threading.Event()

    def submit_all() -> list[str]:
        jobs = []
        while not over.is_set():
            with contextlib.suppress(NotTaken), daemon.client() as client:
                jobs.append(client.request("submit", question)["job"])
        return jobs

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(submit_all) for _ in range(4)]
        try:
            for jobs in range(100_000, 100_006):
                config.write_text(json.dumps({**settings, "history_jobs": jobs}))
                done = daemon.mozartd("reload")
                assert "coordinator restarted" in done.stdout, done.stderr
        finally:
            over.set()
        given = [job for each in asking for job in each.result()]
    # By `mozart list`, which reads page after page: a fast machine submits more than one page holds.
    listed = [job["id"] for job in json.loads(daemon.mozart("list", "--all", "--json").stdout)["jobs"]]
    assert sorted(listed) == sorted(given)
    assert len(given) > 50
