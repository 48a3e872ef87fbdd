"""deploy/mozartd.service under a real systemd, booted for this file in namespaces of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.process.daemon import PATIENCE, SCRIPT, wait_until

UNIT = ROOT / "deploy" / "mozartd.service"


def why_not() -> str:
    """What this machine lacks to boot a systemd; empty when nothing."""
    if os.geteuid() != 0:
        return "not root"
    missing = [tool for tool in ("unshare", "nsenter", "setpriv", "findmnt", "pgrep") if not shutil.which(tool)]
    if not Path("/lib/systemd/systemd").exists() or missing:
        return f"no {' '.join(missing) or 'systemd'}"
    if "overlay" not in Path("/proc/filesystems").read_text() or "cgroup2" not in Path("/proc/mounts").read_text():
        return "no overlayfs or no cgroup2"
    return ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"cannot boot a systemd here: {why_not()}")


class Systemd:
    """The booted machine; `run` runs inside it, `files` is its root directory."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "-a", "-t", str(pid)]
        self.files = Path(f"/proc/{pid}/root")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._enter, *command], capture_output=True, text=True, timeout=PATIENCE)

    def must(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.journal()}"
        return done.stdout

    def journal(self) -> str:
        return self.run("journalctl", "-u", "mozartd", "--no-pager", "-o", "cat").stdout

    def show(self, field: str) -> str:
        return self.must("systemctl", "show", "--value", "-p", field, "mozartd").strip()

    def processes(self) -> str:
        """Of the unit, by title."""
        return self.run("ps", "-e", "-o", "pid=,comm=").stdout


@pytest.fixture(scope="module")
def booted() -> Iterator[Systemd]:
    script = Path(__file__).with_name("systemd.sh")
    shared = {str(ROOT), sys.prefix, sys.base_prefix}
    command = ["bash", str(script), *sorted(shared)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as lab:
        assert lab.stdin
        assert lab.stdout
        try:
            pid = lab.stdout.readline().strip()
            if not pid:
                pytest.skip("systemd did not boot in this container")
            yield Systemd(int(pid))
        finally:
            lab.stdin.close()


@pytest.fixture
def systemd(booted: Systemd) -> Iterator[Systemd]:
    """With the sample unit installed and the service stopped, before and after."""
    program = booted.files / "usr/local/bin/mozartd"
    program.write_text(SCRIPT.format(python=sys.executable, root=str(ROOT), name="mozartd"))
    program.chmod(0o755)
    shutil.copy(UNIT, booted.files / "etc/systemd/system/mozartd.service")
    drop_in = booted.files / "etc/systemd/system/mozartd.service.d"
    drop_in.mkdir(exist_ok=True)
    (drop_in / "test.conf").write_text("[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=50ms\nWatchdogSec=2\n")
    booted.must("systemctl", "daemon-reload")
    yield booted
    booted.must("systemctl", "stop", "mozartd")
    booted.run("systemctl", "reset-failed", "mozartd")
    shutil.rmtree(booted.files / "etc/mozart", ignore_errors=True)
    assert "mozart-" not in booted.processes()


def test_the_unit_has_no_mistakes(systemd: Systemd) -> None:
    done = systemd.run("systemd-analyze", "verify", "mozartd.service")
    # It exits 0 for unknown keys and wrong values, and says them.
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_started_means_ready_and_stopped_means_gone(systemd: Systemd) -> None:
    systemd.must("systemctl", "start", "mozartd")
    assert systemd.show("StatusText") == "running, 2 workers"
    assert systemd.must("mozartd", "status")
    assert "<6>" not in systemd.journal(), "priorities are for the journal, not for its readers"
    systemd.must("systemctl", "stop", "mozartd")
    assert systemd.show("Result") == "success"
    assert "mozart" not in systemd.processes()


def test_reload_reads_the_settings_again(systemd: Systemd) -> None:
    systemd.must("systemctl", "start", "mozartd")
    before = systemd.show("MainPID")
    (systemd.files / "etc/mozart").mkdir()
    (systemd.files / "etc/mozart/config.yaml").write_text("workers: 3\n")
    systemd.must("systemctl", "reload", "mozartd")
    wait_until(lambda: systemd.show("StatusText") == "running, 3 workers")
    assert systemd.show("ActiveState") == "active"
    assert systemd.show("MainPID") == before


def test_an_upgrade_keeps_the_pid_and_the_watchdog(systemd: Systemd) -> None:
    systemd.must("systemctl", "start", "mozartd")
    before, restarts = systemd.show("MainPID"), systemd.show("NRestarts")
    assert "upgraded from" in systemd.must("mozartd", "upgrade")
    systemd.must("systemctl", "kill", "--kill-who=main", "-s", "USR2", "mozartd")
    wait_until(lambda: systemd.journal().count("took over from") == 2 and systemd.show("ActiveState") == "active")
    assert (systemd.show("MainPID"), systemd.show("NRestarts")) == (before, restarts)
    assert systemd.show("StatusText") == "running, 2 workers"


def test_a_killed_supervisor_is_started_again_and_none_of_the_old_lives(systemd: Systemd) -> None:
    systemd.must("systemctl", "start", "mozartd")
    before = systemd.show("MainPID")
    restarts = int(systemd.show("NRestarts"))
    systemd.must("kill", "-KILL", before)
    wait_until(lambda: systemd.show("NRestarts") == str(restarts + 1) and systemd.show("ActiveState") == "active")
    assert systemd.show("MainPID") != before
    assert systemd.processes().count("mozart-worker") == 2


def test_a_supervisor_that_stands_still_is_killed_by_the_watchdog(systemd: Systemd) -> None:
    systemd.must("systemctl", "start", "mozartd")
    restarts = int(systemd.show("NRestarts"))
    systemd.must("kill", "-STOP", systemd.show("MainPID"))
    wait_until(lambda: systemd.show("NRestarts") == str(restarts + 1) and systemd.show("ActiveState") == "active")
    assert "Watchdog timeout" in systemd.journal()


def test_wrong_settings_are_in_the_journal(systemd: Systemd) -> None:
    (systemd.files / "etc/mozart").mkdir()
    (systemd.files / "etc/mozart/config.yaml").write_text("workerz: 3\n")
    assert systemd.run("systemctl", "start", "mozartd").returncode != 0
    assert "cannot use the setting workerz in /etc/mozart/config.yaml:1" in systemd.journal()
    assert systemd.show("ActiveState") == "failed", "and it is not tried again and again"
