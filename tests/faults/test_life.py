"""Rows of part C: the daemon lives, whatever is installed, removed, refused or signalled under it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.conventions.tree import PACKAGES
from tests.process.asking import open_gate
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, processes_of, wait_until
from tests.process.test_upgrade import Installed

Score = Callable[..., Path]


@pytest.fixture
def installed(home: Path) -> Iterator[Installed]:
    """A daemon that runs from a copy of the packages."""
    found = Installed(home)
    found.daemon.start()
    yield found
    check_end(found.daemon)


# ---- C1: what does not work replaces nothing ------------------------------------------------------------------------


def test_C01_every_broken_file_is_found_with_its_line(tmp_path: Path) -> None:
    from mozartd.rehearsal import problems

    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert not [str(problem) for problem in problems(str(tmp_path))], "what is whole is refused for nothing"
    broken = {}
    for path in (path for package in PACKAGES for path in sorted((tmp_path / package).rglob("*.*"))):
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines, "]] = 'half a line"]))
        broken[str(path.relative_to(tmp_path))] = len(lines) + 1
    found = {problem.path: problem.line for problem in problems(str(tmp_path))}
    assert found == broken


def line_of(name: str, what: str) -> int:
    text = (ROOT / "mozartd" / name).read_text()
    return 1 + text[: text.index(what)].count("\n")


def test_C01_an_upgrade_to_what_is_broken_is_refused_with_file_and_line(installed: Installed, score: Score) -> None:
    daemon = installed.daemon
    job = daemon.run(score("say begun\ngate go\nsay done"))
    daemon.wait_for(job, "attempt.started")
    breaks = [
        (
            "supervisor.py",
            "class Supervisor:",
            "class Supervisor",
            "supervisor.py",
            "class Supervisor:",
            "expected ':'",
        ),
        ("act.py", "def tell(", "def told(", "supervisor.py", "act.tell(", "there is no tell in mozartd.act"),
        ("announce.py", "= True", "= Never", "announce.py", "= True", "'Never' is not defined"),
    ]
    for name, old, new, where, what, why in breaks:
        installed.change(f"mozartd/{name}", old, new)
        done = installed.upgrade()
        assert done.returncode == 1
        message = json.loads(done.stdout)["error"]["message"]
        assert f"mozartd/{where}, line {line_of(where, what)}: " in message, message
        assert why in message
        shutil.copy(ROOT / "mozartd" / name, installed.place / "mozartd" / name)
    # What the command itself needs: asked by signal.
    installed.change("mozartd/launch.py", "class Launch:", "class Launch")
    assert daemon.process
    daemon.process.send_signal(signal.SIGUSR2)
    where = f"mozartd/launch.py, line {line_of('launch.py', 'class Launch:')}: SyntaxError"
    wait_until(lambda: where in daemon.printed())
    shutil.copy(ROOT / "mozartd" / "launch.py", installed.place / "mozartd" / "launch.py")
    assert installed.upgrade().returncode == 0
    open_gate(Path(daemon.job(job)["job"]["workspace"]) / "go")
    assert daemon.wait(job)["state"] == "completed"
    assert len(daemon.job(job)["sheets"][0]["attempts"]) == 1


# ---- C28: nothing of the package is needed any more -----------------------------------------------------------------


def test_C28_a_daemon_whose_package_is_gone_goes_on(installed: Installed, score: Score) -> None:
    daemon = installed.daemon
    shutil.rmtree(installed.place)
    for name in ("mozart", "mozartd"):
        shutil.copy(daemon.scripts / name, daemon.scripts / f"{name}.gone")
        script = (daemon.scripts / name).read_text().replace(str(installed.place), str(ROOT))
        (daemon.scripts / name).write_text(script)
    for name in ("worker", "worker:2", "coordinator"):
        before = daemon.kill(name)
        wait_until(lambda: daemon.is_ready() and daemon.pid(name) != before)  # noqa: B023 - called at once
    file = {"type": "content_regex", "path": "{workspace}/a", "pattern": "(h+)(i|o)"}
    job = daemon.run(score("write a hi", validations=[file]))
    assert daemon.wait(job)["state"] == "completed"
    shell = daemon.run(score("", name="shell", backend={"type": "bash"}, prompt={"template": "exit 0"}))
    assert daemon.wait(shell)["state"] == "completed"


def test_C28_status_says_that_another_version_is_installed(installed: Installed) -> None:
    assert "upgrade" not in installed.daemon.mozartd("status").stdout
    installed.install("9.9.9")
    said = installed.daemon.mozartd("status").stdout
    assert "version 9.9.9 is installed: `mozartd upgrade`" in said, said


# ---- C18: a signal to everybody -------------------------------------------------------------------------------------


def test_C18_who_dies_with_the_daemon_has_not_failed(start_daemon: Callable[..., Daemon], score: Score) -> None:
    daemon = start_daemon(workers=1)
    no_retry = {"max_retries": 0}
    rule = {"type": "command_succeeds", "command": "test -e {workspace}/again || exec sleep 1000"}
    jobs = [
        daemon.run(score("attempt 1: say begun\nattempt 1: hang", name="agent", retry=no_retry)),
        daemon.run(
            score("attempt 1: say begun\nattempt 1: gate go\nattempt 1: exit 143", name="shell", retry=no_retry)
        ),
        daemon.run(score("attempt 2: write again yes", name="rule", retry=no_retry, validations=[rule])),
    ]
    for job in jobs[:2]:
        daemon.wait_for(job, "attempt.started")
    sleeping = wait_until(lambda: [pid for pid in processes_of(daemon.home) if command_of(pid) == b"sleep\x001000\x00"])
    agents = [daemon.job(job)["sheets"][0]["attempts"][0]["agent_pid"] for job in jobs[:1]]
    ours = [daemon.pid(name) for name in ("coordinator", "worker", "supervisor")]
    open_gate(Path(daemon.job(jobs[1])["job"]["workspace"]) / "go")
    for pid in [*agents, *sleeping, *ours]:
        os.kill(pid, signal.SIGTERM)
    assert daemon.process
    assert daemon.process.wait(30) == 0
    daemon.start()
    for job in jobs:
        assert daemon.wait(job)["state"] == "completed"
        attempts = daemon.job(job)["sheets"][0]["attempts"]
        assert [each["verdict"] for each in attempts] == ["interrupted", "ok"], job


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
