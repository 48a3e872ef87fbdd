"""Design §8: what must survive. Each test kills for real, in the middle of a run, and looks at what the job became.

The agents wait at gates (FIFOs), so that the middle of a run is a fact and not a matter of timing; how often each ran
is counted in a file that every attempt appends to.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.bench.flood import check_all, flood
from tests.process.asking import open_gate
from tests.process.daemon import Daemon, is_alive, processes_of, wait_until

Score = Callable[..., Path]

#: Says that it ran, waits, says that it went on.
GATED = "append runs.{n} ran\nsay begun\ngate go.{n}\nsay done"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


def runs(workspace: Path, n: int = 1) -> int:
    log = workspace / f"runs.{n}"
    return len(log.read_text().splitlines()) if log.exists() else 0


def has_run_twice(workspace: Path, n: int = 1) -> bool:
    return runs(workspace, n) == 2


def is_gone(pid: int) -> bool:
    return not is_alive(pid)


def begin(daemon: Daemon, score: Score, sheets: int = 1, **fields: Any) -> str:
    """A job whose sheets all run at once and stand at their gates."""
    scripts = [GATED.format(n=n) for n in range(1, sheets + 1)]
    parallel = {"enabled": True, "max_concurrent": sheets}
    job = daemon.run(score(*scripts, parallel=parallel, retry={"max_retries": 1}, **fields))
    for n in range(1, sheets + 1):
        daemon.wait_for(job, "attempt.started", n)
        wait_until((Path(daemon.job(job)["job"]["workspace"]) / f"go.{n}").exists)
    return job


def agent_pids(daemon: Daemon, job: str) -> list[int]:
    return [sheet["attempts"][-1]["agent_pid"] for sheet in daemon.job(job)["sheets"]]


# ---- kill -9 ----------------------------------------------------------------------------------------------------


def test_a_killed_coordinator_disturbs_no_agent(daemon: Daemon, score: Score, workspace: Path) -> None:
    job = begin(daemon, score, 3)
    agents = agent_pids(daemon, job)
    daemon.kill("coordinator")
    assert daemon.mozart("list", "--json", timeout=10).returncode == 0, "the next request is answered by its successor"
    assert all(map(is_alive, agents))
    for n in (1, 2, 3):
        open_gate(workspace / f"go.{n}")
    assert daemon.wait(job)["state"] == "completed"
    assert [runs(workspace, n) for n in (1, 2, 3)] == [1, 1, 1], "nothing ran twice"
    assert all(len(sheet["attempts"]) == 1 for sheet in daemon.job(job)["sheets"])
    assert daemon.status()["coordinator"]["restarts"] == 1


def test_a_hangup_disturbs_no_agent(home: Path, score: Score, workspace: Path) -> None:
    """The terminal of `nohup mozartd start --foreground` goes; agents inherit nothing of that."""
    daemon = Daemon(home)
    daemon.prefix = ("nohup",)
    try:
        job = begin(daemon.start(), score)
        assert daemon.process
        (agent,), before = agent_pids(daemon, job), processes_of(home)
        os.killpg(daemon.process.pid, signal.SIGHUP)
        wait_until(lambda: "reloading" in daemon.printed())
        ignored = re.search("SigIgn:\t(.*)", Path(f"/proc/{agent}/status").read_text())
        assert ignored
        assert not int(ignored[1], 16) & (1 << (signal.SIGHUP - 1))
        open_gate(workspace / "go.1")
        assert daemon.wait(job)["state"] == "completed"
        assert runs(workspace) == 1
        assert set(processes_of(home)) < set(before), "nobody was replaced"
    finally:
        daemon.stop()
        daemon.remove()


def test_what_ends_while_the_coordinator_is_dead_is_reported(daemon: Daemon, score: Score, workspace: Path) -> None:
    job = begin(daemon, score)
    os.kill(daemon.pid("supervisor"), signal.SIGSTOP)  # so that nobody restarts the coordinator yet
    daemon_pid = daemon.process.pid if daemon.process else 0
    agent = agent_pids_of_home(daemon, workspace)
    os.kill(coordinator_of(daemon), signal.SIGKILL)
    open_gate(workspace / "go.1")
    wait_until(lambda: not is_alive(agent))
    os.kill(daemon_pid, signal.SIGCONT)
    assert daemon.wait(job)["state"] == "completed"
    assert runs(workspace) == 1


def test_submissions_are_taken_within_a_second_after_a_coordinators_death(daemon: Daemon, score: Score) -> None:
    daemon.kill("coordinator")
    assert daemon.is_listening(), "the socket is the supervisor's: connecting waits, it is not refused"
    job = daemon.run(score("say hello"))
    assert daemon.wait(job)["state"] == "completed"


def test_a_killed_worker_takes_its_agents_along_and_spends_no_retry(
    daemon: Daemon, score: Score, workspace: Path
) -> None:
    job = begin(daemon, score, 4)
    before = {sheet["n"]: sheet["attempts"][-1] for sheet in daemon.job(job)["sheets"]}
    victim = before[1]["worker_pid"]
    hit = [n for n, attempt in before.items() if attempt["worker_pid"] == victim]
    spared = [n for n in before if n not in hit]
    os.kill(victim, signal.SIGKILL)
    for n in hit:
        wait_until(partial(is_gone, before[n]["agent_pid"]))
        wait_until(partial(has_run_twice, workspace, n))
    assert all(is_alive(before[n]["agent_pid"]) for n in spared)
    for n in before:
        open_gate(workspace / f"go.{n}")
    assert daemon.wait(job)["state"] == "completed", "one full attempt is allowed; the interrupted ones were not it"
    after = {sheet["n"]: sheet["attempts"] for sheet in daemon.job(job)["sheets"]}
    assert all(after[n][0]["interrupted"] and len(after[n]) == 2 for n in hit)
    assert all(len(after[n]) == 1 for n in spared)


def test_a_killed_worker_leaves_no_runaway(start_daemon: Callable[..., Daemon], score: Score) -> None:
    daemon = start_daemon(workers=1)
    job = daemon.run(score("spawn 1000\nsetsid 1000\nsay ready\nhang"))
    daemon.wait_for(job, "attempt.started")
    wait_until(lambda: len(agents_of(daemon)) == 3)
    old = agents_of(daemon)
    os.kill(daemon.job(job)["sheets"][0]["attempts"][-1]["worker_pid"], signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, old)))
    daemon.mozart("cancel", job)


def test_a_killed_supervisor_takes_everything_along(
    start_daemon: Callable[..., Daemon], score: Score, workspace: Path
) -> None:
    daemon = start_daemon()
    job = begin(daemon, score, 2)
    daemon.kill("supervisor")
    wait_until(lambda: not processes_of(daemon.home))
    daemon.start()
    for n in (1, 2):
        wait_until(partial(has_run_twice, workspace, n))
        open_gate(workspace / f"go.{n}")
    assert daemon.wait(job)["state"] == "completed"


def test_a_power_cut_loses_no_acknowledged_word(
    start_daemon: Callable[..., Daemon], score: Score, workspace: Path
) -> None:
    daemon = start_daemon()
    ended = daemon.run(score("say first", name="first"))
    daemon.wait(ended)
    running = begin(daemon, score, 2, name="second")
    open_gate(workspace / "go.1")
    daemon.wait_for(running, "sheet.completed", 1)
    queued = daemon.run(score("say third", name="third"))
    daemon.kill_everything()
    daemon.start()
    assert daemon.job(ended)["job"]["state"] == "completed"
    wait_until(partial(has_run_twice, workspace, 2))
    open_gate(workspace / "go.2")
    assert daemon.wait(running)["state"] == "completed"
    assert daemon.wait(queued)["state"] == "completed"
    assert runs(workspace, 1) == 1, "a completed sheet does not run again"
    assert daemon.run(score("say fourth", name="fourth")) not in (ended, running, queued)


@pytest.mark.parametrize("name", ["worker:1", "coordinator"])
def test_whatever_dies_is_replaced(daemon: Daemon, name: str) -> None:
    pid = daemon.kill(name)
    wait_until(lambda: daemon.is_ready() and daemon.pid(name) != pid)


# ---- followers --------------------------------------------------------------------------------------------------


def test_twenty_followers_get_every_byte(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = shared_daemon.run(score("gate go\nflood 2000000"))
    followers = [shared_daemon.popen("logs", job, "-f", "--raw") for _ in range(20)]
    wait_until(lambda: shared_daemon.status()["followers"] == 20)
    open_gate(workspace / "go")
    check_all([follower.stdout for follower in followers if follower.stdout], flood(2_000_000))
    for follower in followers:
        assert follower.communicate(timeout=20)[0] == b""
        assert follower.returncode == 0


def test_a_follower_goes_on_across_a_coordinators_death(daemon: Daemon, score: Score, workspace: Path) -> None:
    job = daemon.run(score("flood 3000000\ngate one\nflood 3000000\ngate two\nsay end"))
    follower = daemon.popen("logs", job, "-f", "--raw")
    assert follower.stdout
    expected = flood(3_000_000)
    check_all([follower.stdout], expected[:1_000_000])
    daemon.kill("coordinator")
    open_gate(workspace / "one")
    check_all([follower.stdout], expected[1_000_000:] + expected[:500_000])
    daemon.kill("coordinator")
    open_gate(workspace / "two")
    out, err = follower.communicate(timeout=20)
    assert out == expected[500_000:] + b"end\n"
    assert follower.returncode == 0, err


def test_following_begins_before_the_job_and_ends_with_it(
    start_daemon: Callable[..., Daemon], score: Score, workspace: Path
) -> None:
    daemon = start_daemon({"max_concurrent_sheets": 1})
    first = daemon.run(score("gate go", name="first"))
    waiting = daemon.run(score("say one\nexit 3", name="second", retry={"max_retries": 1}))
    follower = daemon.popen("logs", waiting, "-f", "--raw")
    wait_until(lambda: daemon.status()["followers"] == 1)
    assert daemon.job(waiting)["sheets"][0]["state"] == "pending"
    open_gate(workspace / "go")
    assert follower.communicate(timeout=20)[0] == b"one\n"
    assert follower.returncode == 1
    assert daemon.wait(first)["state"] == "completed"


def test_a_stopped_follower_holds_nobody_up(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = shared_daemon.run(score("gate go\nflood 20000000"))
    follower = shared_daemon.popen("logs", job, "-f", "--raw")
    wait_until(lambda: shared_daemon.status()["followers"] == 1)
    follower.send_signal(signal.SIGSTOP)
    open_gate(workspace / "go")
    assert shared_daemon.wait(job)["state"] == "completed"
    follower.send_signal(signal.SIGCONT)
    assert follower.communicate(timeout=20)[0] == flood(20_000_000)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("endless 3000000", b"x" * 3_000_000),
        ("bytes 00ff80fe0a\nnonl last", b"\x00\xff\x80\xfe\nlast"),
        ("say", b"\n"),
        ("hidden", None),
    ],
    ids=["endless line", "bytes that are no text", "empty line", "nothing at all"],
)
def test_odd_output_comes_as_it_is(shared_daemon: Daemon, score: Score, script: str, expected: bytes | None) -> None:
    job = shared_daemon.run(score("exit 0" if expected is None else script))
    done = subprocess.run(
        [shared_daemon.scripts / "mozart", "logs", job, "-f", "--raw"],
        env=shared_daemon.environment,
        capture_output=True,
    )
    assert done.stdout == (expected or b"")


# ---- cancel -----------------------------------------------------------------------------------------------------


def agents_of(daemon: Daemon) -> list[int]:
    """Agents and what they started, of every attempt."""
    return [pid for pid in processes_of(daemon.home) if is_agent(pid)]


def is_agent(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"MOZART_ATTEMPT_ID=" in file.read()
    except OSError:
        return False


def agent_pids_of_home(daemon: Daemon, workspace: Path) -> int:
    """The one agent that runs."""
    wait_until((workspace / "go.1").exists)
    (pid,) = agents_of(daemon)
    return pid


def coordinator_of(daemon: Daemon) -> int:
    """Found by its title, for when nobody may be asked."""
    for pid in processes_of(daemon.home):
        with open(f"/proc/{pid}/comm") as file:
            if "coord" in file.read():
                return pid
    raise AssertionError("no coordinator")


@pytest.mark.parametrize(
    "script",
    [
        "say ready\nhang",
        "ignore TERM\nignore INT\nsay ready\nhang",
        "spawn 1000\nsetsid 1000\nsay ready\nhang",
        "setsid 1000\nsay ready\ncloseout\nhang",
        "say ready\nendless 100000000000",
    ],
    ids=["hangs", "ignores signals", "has left children", "closed its output", "floods"],
)
def test_cancel_leaves_no_process_behind(shared_daemon: Daemon, score: Score, script: str) -> None:
    job = shared_daemon.run(score(script, backend={}))
    follower = shared_daemon.popen("logs", job, "-f", "--raw")
    assert follower.stdout
    assert follower.stdout.readline() == b"ready\n"
    follower.kill()
    assert agents_of(shared_daemon)
    done = shared_daemon.mozart("cancel", job)
    assert done.returncode == 0, done.stderr
    assert shared_daemon.wait(job)["state"] == "cancelled"
    wait_until(lambda: not agents_of(shared_daemon), 10)


def test_what_an_agent_leaves_behind_dies_with_its_attempt(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("spawn 1000\nsetsid 1000\nsay done"))
    assert shared_daemon.wait(job)["state"] == "completed"
    wait_until(lambda: not agents_of(shared_daemon), 10)


def test_stop_stops_agents_and_the_next_start_goes_on(
    start_daemon: Callable[..., Daemon], score: Score, workspace: Path
) -> None:
    daemon = start_daemon()
    job = begin(daemon, score)
    assert daemon.stop() == 0
    assert not daemon.leftovers()
    daemon.start()
    wait_until(partial(has_run_twice, workspace))
    open_gate(workspace / "go.1")
    assert daemon.wait(job)["state"] == "completed"
    assert daemon.job(job)["sheets"][0]["attempts"][0]["interrupted"]
