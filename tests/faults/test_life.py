"""Rows of part C: the daemon lives, whatever is installed, removed, refused or signalled under it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.conventions.tree import PACKAGES
from tests.process.asking import open_gate
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, is_alive, processes_of, wait_until
from tests.process.test_upgrade import Installed
from tests.torture.cold import one_round

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


def is_back_without(daemon: Daemon, pid: int) -> bool:
    if not daemon.is_ready():
        return False
    status = daemon.status()
    pids = {status["coordinator"]["pid"], *(worker["pid"] for worker in status["workers"])}
    return len(pids) == 3 and pid not in pids


def test_C28_C19_a_daemon_and_a_run_whose_package_is_gone_go_on(installed: Installed, score: Score) -> None:
    daemon = installed.daemon
    attached = daemon.popen("run", score("say begun\ngate go\nsay done", name="attached"))
    job = wait_until(lambda: [each["id"] for each in daemon.request("list")["jobs"]])[0]
    assert attached.stdout
    while b"begun" not in attached.stdout.readline():
        pass
    shutil.rmtree(installed.place)
    open_gate(Path(daemon.job(job)["job"]["workspace"]) / "go")
    _, err = attached.communicate(timeout=60)
    assert (attached.returncode, b"Traceback" in err) == (0, False), err
    for name in ("mozart", "mozartd"):
        shutil.copy(daemon.scripts / name, daemon.scripts / f"{name}.gone")
        script = (daemon.scripts / name).read_text().replace(str(installed.place), str(ROOT))
        (daemon.scripts / name).write_text(script)
    for name in ("worker", "worker:2", "coordinator"):
        before = daemon.kill(name)
        wait_until(lambda: is_back_without(daemon, before))  # noqa: B023 - called at once
    file = {"type": "content_regex", "path": "{workspace}/a", "pattern": "(h+)(i|o)"}
    job = daemon.run(score("write a hi", validations=[file]))
    assert daemon.wait(job)["state"] == "completed"
    shell = daemon.run(score("", name="shell", backend={"type": "bash"}, prompt={"template": "exit 0"}))
    assert daemon.wait(shell)["state"] == "completed"


def test_C28_status_says_that_another_version_is_installed(installed: Installed) -> None:
    assert "upgrade" not in installed.daemon.mozartd("status").stdout
    installed.install("9.9.9")
    said = installed.daemon.mozartd("status").stdout
    assert "version 9.9.9 is installed: run `mozartd upgrade`" in said, said


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


# ---- C7, C11, C12: what it was born into ----------------------------------------------------------------------------


def test_C07_agents_are_the_kernels_first_victims(shared_daemon: Daemon, score: Score) -> None:
    rule = {"type": "command_succeeds", "command": "test $(cat /proc/self/oom_score_adj) -ge 500"}
    shows = {
        "type": "command",
        "command": ["sh", "-c", "cat /proc/self/oom_score_adj; sh -c 'cat /proc/self/oom_score_adj'"],
    }
    job = shared_daemon.run(score("", backend=shows, validations=[rule]))
    assert shared_daemon.wait(job)["state"] == "completed"
    printed = shared_daemon.mozart("logs", job, "--raw").stdout.split()
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert [int(each) for each in printed] == [min(1000, max(0, own) + 500)] * 2
    for name in ("supervisor", "coordinator", "worker"):
        assert int(Path(f"/proc/{shared_daemon.pid(name)}/oom_score_adj").read_text()) == own
    unit = (ROOT / "deploy" / "mozartd.service").read_text()
    assert "OOMPolicy=continue" in unit
    assert "OOMScoreAdjust=-" in unit


def test_C11_children_it_was_born_with_are_no_strays(cold: Daemon, score: Score) -> None:
    loop = cold.home / "loop"
    script = f"( echo $BASHPID >{loop}; while :; do sleep 1; done ) & exec {cold.scripts}/mozartd start --foreground"
    with open(cold.output, "ab") as output:
        cold.process = subprocess.Popen(
            ["bash", "-c", script], env=cold.environment, stdout=output, stderr=output, start_new_session=True
        )
    wait_until(cold.is_ready)
    pid = int(loop.read_text())
    try:
        cold.kill("worker")
        wait_until(cold.is_ready)
        assert cold.mozartd("upgrade", timeout=60).returncode == 0
        cold.kill("worker")
        wait_until(cold.is_ready)
        assert is_alive(pid), cold.printed()
        assert "left behind" not in cold.printed()
    finally:
        os.kill(pid, signal.SIGKILL)
    cold.stop()


def test_C12_a_starter_that_ignores_its_childrens_ends(cold: Daemon, score: Score) -> None:
    script = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, str(cold.scripts / "mozart"), "run", str(score("say hello"))]
    done = subprocess.run(command, env=cold.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


# ---- C9: removed under it -------------------------------------------------------------------------------------------


def test_C09_what_is_removed_under_it_is_put_back(cold: Daemon, score: Score) -> None:
    cold.start(by_command=True)
    assert cold.process
    job = cold.run(score("say begun\ngate go\nsay done"))
    cold.wait_for(job, "attempt.started")
    shutil.rmtree(cold.home / "run")
    wait_until(cold.is_ready)
    shutil.rmtree(cold.home / "run")
    assert cold.mozartd("reload").returncode == 0
    assert cold.mozart("status").returncode == 0
    (cold.home / "state" / "lock").unlink()
    started = cold.mozartd("start", "--json")
    assert json.loads(started.stdout) == {"pid": cold.process.pid, "state": "running"}, "never a second one"
    wait_until((cold.home / "state" / "lock").exists)
    open_gate(Path(cold.job(job)["job"]["workspace"]) / "go")
    assert cold.wait(job)["state"] == "completed"
    assert len(cold.job(job)["sheets"][0]["attempts"]) == 1
    assert "Traceback" not in cold.printed()


def test_C09_stop_works_when_all_is_removed(cold: Daemon, score: Score) -> None:
    cold.start(by_command=True)
    assert cold.process
    job = cold.run(score("say begun\nhang"))
    cold.wait_for(job, "attempt.started")
    shutil.rmtree(cold.home / "state")
    wait_until(lambda: "mozart.db was removed" in cold.status()["reason"])
    shutil.rmtree(cold.home / "state", ignore_errors=True)
    shutil.rmtree(cold.home / "run")
    started = cold.mozartd("start", "--json")
    assert json.loads(started.stdout)["pid"] == cold.process.pid
    stopped = cold.mozartd("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert cold.process.wait(30) == 0
    assert not processes_of(cold.home)


# ---- C29, C30: refused by the machine -------------------------------------------------------------------------------

REFUSING = str(Path(__file__).with_name("refusing.py"))
EPERM, ENOSYS, ENOLCK = 1, 38, 37


def refusing(daemon: Daemon, calls: str, *command: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, REFUSING, *calls.split(), "--", *command]
    return subprocess.run(argv, env=daemon.environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("calls", "said", "hint"),
    [
        (f"pidfd_open={ENOSYS}", "pidfd_open is refused: Function not implemented", "seccomp"),
        (f"pidfd_send_signal={EPERM}", "pidfd_send_signal is refused: Operation not permitted", "seccomp"),
        (f"memfd_create={ENOSYS}", "memfd_create is refused: Function not implemented", "seccomp"),
        (f"rt_sigtimedwait={ENOSYS}", "sigtimedwait is refused: Function not implemented", "seccomp"),
        (f"flock={ENOLCK}", "state/lock: No locks available", "MOZART_HOME"),
        ("", "only 20 files may be open at once (ulimit -n)", "ulimit -n 1024"),
    ],
)
def test_C30_what_the_machine_refuses_is_named(cold: Daemon, calls: str, said: str, hint: str) -> None:
    mozartd = str(cold.scripts / "mozartd")
    command = [mozartd, "start"] if calls else ["sh", "-c", f"ulimit -n 20; exec {mozartd} start"]
    done = refusing(cold, calls, *command)
    assert done.returncode not in (0, None), done.stdout
    assert said in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("calls", [f"pidfd_open={EPERM}", f"pidfd_send_signal={EPERM}"])
def test_C29_stop_ends_it_where_pidfds_are_refused(cold: Daemon, calls: str) -> None:
    assert cold.mozartd("start").returncode == 0
    assert refusing(cold, calls, str(cold.scripts / "mozartd"), "reload").returncode == 0
    done = refusing(cold, calls, str(cold.scripts / "mozartd"), "stop", *(["--force"] if "open" in calls else []))
    assert done.returncode == 0, done.stderr
    assert "mozartd has stopped" in done.stdout
    assert not processes_of(cold.home)


# ---- C13, C20, D18: asking a daemon that comes, stands or goes ------------------------------------------------------


@pytest.mark.timeout(180)
def test_C13_many_at_once_start_one_daemon(cold: Daemon) -> None:
    """With what a killed one left. `make torture ARGS=cold` has fifty rounds of twelve."""
    cold.start(by_command=True)
    cold.kill_everything()
    assert (cold.home / "run" / "mozartd.sock").exists()
    one_round(cold, 6)


def test_C20_what_a_stopped_supervisor_cannot_hear_is_said_at_once(shared_daemon: Daemon) -> None:
    pid = shared_daemon.pid("supervisor")
    os.kill(pid, signal.SIGSTOP)
    try:
        for verb in ("reload", "upgrade", "stop"):
            done = shared_daemon.mozartd(verb)
            assert done.returncode == 1
            assert f"its process {pid} is stopped or frozen" in done.stderr
            assert f"kill -CONT {pid}" in done.stderr
    finally:
        os.kill(pid, signal.SIGCONT)
    assert shared_daemon.mozartd("reload").returncode == 0


def test_D18_stop_says_what_goes_on_and_one_wording_for_no_daemon(cold: Daemon, score: Score) -> None:
    for program, verb in (("mozartd", "reload"), ("mozartd", "status"), ("mozartd", "stop"), ("mozart", "status")):
        done = cold.call(program, verb)
        assert "the daemon is not running" in done.stdout + done.stderr, verb
    (cold.home / "config.yaml").unlink()
    job = cold.run(score("hang"))
    assert f"{cold.home}/config.yaml does not exist" in cold.mozartd("reload").stdout
    cold.wait_for(job, "attempt.started")
    assert "1 unfinished job continues at the next start" in cold.mozartd("stop").stdout


def test_C26_a_log_that_cannot_be_written_is_said_on_the_terminal(cold: Daemon) -> None:
    (cold.home / "state" / "mozartd.log").mkdir(parents=True)
    done = cold.mozartd("start")
    assert done.returncode != 0
    assert f"cannot write {cold.home}/state/mozartd.log: Is a directory" in done.stderr
    (cold.home / "state" / "mozartd.log").rmdir()
