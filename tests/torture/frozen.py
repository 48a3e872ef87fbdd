"""Everything stands still for a while, as under `docker pause`, a suspend or a debugger, and then goes on.

Twenty agents print all the time. Every process of the daemon is stopped: by its cgroup's freezer where there is one of ours to
write, else by SIGSTOP; first all together, then each kind alone. Nobody may die of it, no attempt may be lost or run twice.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.process.daemon import Daemon, processes_of, write_score

AGENTS = 20
PAUSES = (1, 35, 300)
ALONE = ("supervisor", "worker", "worker:2", "coordinator")
CGROUP = Path("/sys/fs/cgroup")


def run(home: Path, longest: int) -> int:
    """Seconds of standing still that were survived."""
    daemon = Daemon(home, {"stop_grace_seconds": 0.5})
    try:
        daemon.start()
        return sum(_pause(daemon, seconds) for seconds in PAUSES if seconds <= longest)
    finally:
        daemon.stop()
        daemon.remove()


def _pause(daemon: Daemon, seconds: int) -> int:
    scripts = ["tick 100 0.1\nsay done"] * AGENTS
    score = write_score(daemon.home, *scripts, parallel={"enabled": True, "max_concurrent": AGENTS})
    job = daemon.run(score)
    daemon.wait_for(job, "attempt.started", AGENTS)
    before = [daemon.pid(name) for name in ALONE[:3]]
    with _stopped(processes_of(daemon.home)):
        time.sleep(seconds)
    for name in ALONE:
        with _stopped([daemon.pid(name)]):
            time.sleep(min(seconds, 60))
    ended = daemon.wait(job, patience=120)
    assert ended["state"] == "completed", daemon.printed()
    assert [len(sheet["attempts"]) for sheet in daemon.job(job)["sheets"]] == [1] * AGENTS
    assert [daemon.pid(name) for name in ALONE[:3]] == before, "who was only stopped was replaced"
    return seconds


@contextlib.contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    group = _cgroup()
    try:
        if group is not None:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    (group / "cgroup.procs").write_text(str(pid))
            (group / "cgroup.freeze").write_text("1")
        else:
            _signal(pids, signal.SIGSTOP)
        yield
    finally:
        if group is not None:
            (group / "cgroup.freeze").write_text("0")
            for moved in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (CGROUP / "cgroup.procs").write_text(moved)
            group.rmdir()
        else:
            _signal(pids, signal.SIGCONT)


def _cgroup() -> Path | None:
    group = CGROUP / f"mozart-frozen-{os.getpid()}"
    try:
        group.mkdir()
        if os.access(group / "cgroup.freeze", os.W_OK):
            return group
        group.rmdir()
    except OSError:
        pass
    return None


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
