"""`mozartd start`, `stop`, `status`, `reload` as a person or a script meets them, with the whole daemon behind."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import ROOT
from tests.process.daemon import PATIENCE, Daemon, is_alive, processes_of, wait_until


def start(cold: Daemon, *args: str) -> int:
    """The pid of a daemon in the background."""
    done = cold.mozartd("start", "--json", *args)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["state"] == "ready"
    return int(answer["pid"])


def log(cold: Daemon) -> str:
    return (cold.home / "state" / "mozartd.log").read_text()


def test_start_returns_when_it_is_ready_and_stop_when_all_is_gone(cold: Daemon) -> None:
    pid = start(cold)
    assert is_alive(pid)
    assert os.getsid(pid) != os.getsid(0), "in a session of its own"
    assert os.getsid(pid) != pid, "and not leading it"
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert json.loads(cold.mozartd("status", "--json").stdout)["pid"] == pid
    done = cold.mozartd("stop", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"pid": pid, "state": "stopped"})
    assert not processes_of(cold.home)
    assert os.listdir(cold.home / "run") == []


def test_every_line_of_its_log_has_time_process_and_level(cold: Daemon) -> None:
    start(cold)
    cold.mozartd("stop")
    lines = log(cold).splitlines()
    assert lines
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [a-z]+(-\d+)?\[\d+\] (info|warning) \S", line), line


def test_start_leaves_a_running_daemon_alone(cold: Daemon) -> None:
    pid = start(cold)
    again = cold.mozartd("start", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, {"pid": pid, "state": "running"})
    assert f"already running (pid {pid})" in cold.mozartd("start").stdout
    assert f"already running (pid {pid})" in cold.mozartd("start", "--foreground").stdout


def test_of_many_starts_at_once_one_starts(cold: Daemon) -> None:
    command = [cold.scripts / "mozartd", "start", "--json"]
    starts = [
        subprocess.Popen(command, env=cold.environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        for _ in range(4)
    ]
    answers = [json.loads(start.communicate(timeout=PATIENCE)[0]) for start in starts]
    assert len({answer["pid"] for answer in answers}) == 1, answers
    assert sorted(answer["state"] for answer in answers).count("ready") == 1


def test_the_starters_descriptors_are_not_kept(cold: Daemon) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    command = [cold.scripts / "mozartd", "start"]
    subprocess.run(
        command, env=cold.environment, stdin=subprocess.DEVNULL, close_fds=False, check=True, timeout=PATIENCE
    )
    os.close(write)
    ready, _, _ = select.select([read], [], [], PATIENCE)
    assert ready, "a shell that reads what the starter prints would hang"
    os.close(read)


def test_a_foreground_daemon_says_when_it_is_ready(cold: Daemon) -> None:
    command = [cold.scripts / "mozartd", "start", "--foreground", "--json"]
    with subprocess.Popen(command, env=cold.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        said = process.stdout.readline()
        assert said, process.communicate()
        assert json.loads(said) == {"pid": process.pid, "state": "ready"}
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert b"stopping: received SIGINT" in printed


@pytest.mark.parametrize("how", [(), ("--foreground",)], ids=["background", "foreground"])
def test_wrong_settings_are_said_at_once(cold: Daemon, how: tuple[str, ...]) -> None:
    (cold.home / "config.yaml").write_text("workers: 2\nworkr_slots: 3\n")
    done = cold.mozartd("start", *how)
    assert done.returncode == 2
    assert "config.yaml:2: unknown setting" in done.stderr
    assert "did you mean worker_slots?" in done.stderr


def test_a_settings_file_that_was_named_must_exist(cold: Daemon) -> None:
    done = cold.mozartd("start", "--config", "nowhere.yaml", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["message"].startswith(f"cannot read {cold.home}/nowhere.yaml")


def test_a_named_settings_file_is_used_and_read_again(cold: Daemon) -> None:
    config = cold.home / "other.yaml"
    config.write_text("workers: 1")
    start(cold, "--config", "other.yaml")
    assert len(cold.status()["workers"]) == 1
    config.write_text("workers: 2")
    done = cold.mozartd("reload", "--json")
    assert json.loads(done.stdout)["changed"] == {"workers": "applied"}
    wait_until(lambda: len(cold.status()["workers"]) == 2)
    config.write_text("workers: none")
    done = cold.mozartd("reload")
    assert done.returncode == 2
    assert "other.yaml:1" in done.stderr


def test_what_keeps_it_from_booting_is_shown(cold: Daemon) -> None:
    (cold.home / "state").mkdir(mode=0o700)
    (cold.home / "state" / "mozart.db").write_bytes(b"this is no database" * 100)
    done = cold.mozartd("start")
    assert done.returncode == 1
    assert "cannot start the daemon" in done.stderr
    assert "coordinator reports that it cannot start" in done.stderr
    assert not processes_of(cold.home)


def test_a_state_directory_that_is_a_file_is_refused(cold: Daemon) -> None:
    (cold.home / "state").write_text("")
    done = cold.mozartd("start")
    assert done.returncode == 2
    assert "is not a directory" in done.stderr or "File exists" in done.stderr


def test_a_lock_that_cannot_be_is_said(cold: Daemon) -> None:
    (cold.home / "state").mkdir(mode=0o700)
    (cold.home / "state" / "lock").symlink_to(cold.home / "elsewhere")
    done = cold.mozartd("start")
    assert done.returncode == 1
    assert done.stderr.startswith("mozartd: cannot open ")
    assert "state/lock" in done.stderr
    assert "Traceback" not in done.stderr


def test_stop_without_a_daemon_is_no_error_and_reload_and_status_are(cold: Daemon) -> None:
    done = cold.mozartd("stop", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"pid": None, "state": "stopped"})
    for command in ("status", "reload", "upgrade"):
        done = cold.mozartd(command)
        assert (done.returncode, done.stdout) == (4, "")
        assert "mozartd start" in done.stderr


def test_a_stale_pid_file_leads_to_nobody(cold: Daemon) -> None:
    start(cold)
    cold.mozartd("stop")
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        more = json.dumps({"started": 1, "config": "", "stopping": False})
        (cold.home / "run" / "mozartd.pid").write_text(f"{bystander.pid}\n{more}\n")
        for args in (["stop"], ["stop", "--force"]):
            assert cold.mozartd(*args).returncode == 0
        assert bystander.poll() is None, "it was not ours to signal"
        bystander.kill()


def test_stop_force_ends_a_daemon_that_hangs(cold: Daemon, score: Callable[..., Path]) -> None:
    pid = start(cold)
    job = cold.run(score("ignore-term\nsetsid 1000\nsay ready\nhang"))
    cold.wait_for(job, "attempt.started")
    for child in [pid, *(int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
        os.kill(child, signal.SIGSTOP)
    assert cold.mozartd("stop", "--force").returncode == 0
    assert not processes_of(cold.home)


def test_reload_disturbs_no_agent(cold: Daemon, score: Callable[..., Path], tmp_path: Path) -> None:
    start(cold, "--workers", "1")
    job = cold.run(score("gate go\nsay done", "say after"))
    cold.wait_for(job, "attempt.started")
    agent = cold.job(job)["sheets"][0]["attempts"][0]["agent_pid"]
    worker, coordinator = cold.pid("worker"), cold.pid("coordinator")
    (cold.home / "config.yaml").write_text("worker_slots: 2\nhistory_jobs: 10\n")
    assert cold.mozartd("reload").returncode == 0
    wait_until(lambda: {entry["pid"] for entry in cold.status()["workers"]} - {worker})
    assert cold.pid("coordinator") != coordinator
    assert is_alive(agent)
    open_gate(tmp_path / "workspace" / "go")
    assert cold.wait(job)["state"] == "completed"
    assert [len(sheet["attempts"]) for sheet in cold.job(job)["sheets"]] == [1, 1]
    wait_until(lambda: not is_alive(worker))


def test_reload_says_what_each_change_needs_and_what_is_not_in_force(cold: Daemon) -> None:
    cold.environment["MOZART_HISTORY_DAYS"] = "30"
    pid = start(cold, "--workers", "1")
    config = cold.home / "config.yaml"
    config.write_text("workers: 3\nworker_slots: 2\nhistory_days: 7\nhistory_jobs: 10\n")
    del cold.environment["MOZART_HISTORY_DAYS"]
    said = cold.mozartd("reload").stdout.splitlines()
    assert said == [
        f"mozartd (pid {pid}) has reloaded {config}",
        "worker_slots: applied to new workers; old workers exit when their agents finish",
        "stop_grace_seconds: applied to new workers; old workers exit when their agents finish",
        "history_jobs: applied (coordinator restarted)",
        "history_days: not applied, MOZART_HISTORY_DAYS in the daemon's environment overrides it until the daemon is restarted",
        "workers: not applied, --workers 1 of the start overrides it until the daemon is restarted",
    ]
    assert [line for line in said[1:4] if f"reloading: {line.partition(':')[0]}: applied" not in log(cold)] == []
    assert "nothing changed" in cold.mozartd("reload").stdout
    config.write_text("backends: {claud_cli: {max_concurrent: 2}}\n")
    doubt = cold.mozartd("reload").stdout.splitlines()[-1]
    assert doubt.startswith("backends: there is no backend 'claud_cli' and no profile of that name in ")
    assert doubt.endswith("did you mean 'claude_cli'?")
    assert doubt in log(cold)


def test_a_setting_that_no_coordinator_starts_with_is_taken_back(cold: Daemon) -> None:
    pid, config = start(cold), cold.home / "config.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config.write_text(f"metrics_address: 127.0.0.1:{taken.getsockname()[1]}\nworkers: 3\n")
        done = cold.mozartd("reload", "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert "the coordinator does not start with them: cannot serve metrics at 127.0.0.1" in error["message"]
    assert "are in force again" in error["hint"]
    assert cold.is_listening()
    assert (cold.pid("supervisor"), len(cold.status()["workers"])) == (pid, 2)
    config.write_text("history_jobs: 10\n")
    assert cold.mozartd("reload").returncode == 0


def open_gate(gate: Path) -> None:
    wait_until(gate.exists)
    with open(gate, "w"):
        pass


def test_stop_drain_lets_what_runs_end(cold: Daemon, score: Callable[..., Path], tmp_path: Path) -> None:
    start(cold)
    job = cold.run(score("gate go\nsay done", "say never"))
    cold.wait_for(job, "attempt.started")
    command = [cold.scripts / "mozartd", "stop", "--drain"]
    with subprocess.Popen(command, env=cold.environment, stdout=subprocess.PIPE) as stop:
        wait_until(lambda: cold.status()["state"] == "draining")
        open_gate(tmp_path / "workspace" / "go")
        assert stop.wait(PATIENCE) == 0
    assert not processes_of(cold.home)
    start(cold)
    assert cold.wait(job)["state"] == "completed"
    assert [len(sheet["attempts"]) for sheet in cold.job(job)["sheets"]] == [1, 1]


def test_a_growing_log_is_rotated_and_loses_no_line(cold: Daemon) -> None:
    (cold.home / "state").mkdir(mode=0o700)
    old = cold.home / "state" / "mozartd.log"
    pid = start(cold)
    first = log(cold)
    with open(old, "ab") as file:
        file.truncate(11 * 1024 * 1024)
    os.kill(pid, signal.SIGTTIN)
    wait_until(lambda: old.with_suffix(".log.1").exists())
    wait_until(lambda: old.exists() and "started worker-3" in old.with_suffix(".log.1").read_text() + log(cold))
    os.kill(cold.pid("coordinator"), signal.SIGKILL)
    wait_until(lambda: old.exists() and "started coordinator" in log(cold))
    assert old.with_suffix(".log.1").read_text().startswith(first)
    wait_until(lambda: re.search(r"coordinator\[\d+\] info", log(cold)))


def test_a_relative_home_means_where_it_was_started(cold: Daemon) -> None:
    options = {"cwd": cold.home.parent, "env": {"MOZART_HOME": cold.home.name}}
    assert cold.mozartd("start", **options).returncode == 0
    assert cold.mozartd("status", **options).returncode == 0
    assert cold.mozartd("stop", **options).returncode == 0


def test_the_clients_socket_does_not_move_the_daemons(cold: Daemon) -> None:
    cold.environment["MOZART_SOCKET"] = str(cold.home / "elsewhere.sock")
    pid = start(cold)
    assert (cold.home / "run" / "mozartd.sock").exists()
    assert cold.mozartd("status").returncode == 4
    assert b"MOZART_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_one_that_a_client_started_ends_when_there_is_nothing_to_do(cold: Daemon) -> None:
    (cold.home / "config.yaml").write_text("idle_exit_seconds: 0.2\n")
    pid = start(cold, "--by-client")
    wait_until(lambda: not is_alive(pid))
    assert "stopping: nothing left to do" in log(cold)


def test_usage_is_exit_2_and_version_needs_no_daemon(cold: Daemon) -> None:
    for args in (["start", "--workers", "0"], ["stop", "--force", "--drain"], ["sing"], []):
        assert cold.mozartd(*args).returncode == 2, args
    assert re.fullmatch(r"mozartd \d+\.\d+\.\d+\n", cold.mozartd("--version").stdout)
    for command in ("start", "stop", "status", "reload", "upgrade"):
        assert "Example: mozartd" in cold.mozartd(command, "--help").stdout


@pytest.mark.parametrize("where", ["PYTHONPATH", "cwd"])
def test_a_users_modules_named_like_what_we_need_stay_outside(cold: Daemon, tmp_path: Path, where: str) -> None:
    for name in ("cli", "ipc", "mozartd", "typer", "orjson", "yaml", "pydantic", "logging", "settings", "lock"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hijacked')\n")
    options = {"env": {"PYTHONPATH": str(tmp_path)}} if where == "PYTHONPATH" else {"cwd": tmp_path}
    names = ["logging", "mozartd"] if where == "PYTHONPATH" else []
    for name in names:  # these two are imported before we can do anything about it
        (tmp_path / f"{name}.py").unlink()
    for args in (["start"], ["status"], ["stop"]):
        done = cold.mozartd(*args, **options)
        assert (done.returncode, done.stderr) == (0, ""), args


def test_python_m_finds_the_same_door(cold: Daemon, tmp_path: Path) -> None:
    (tmp_path / "ipc").mkdir()
    (tmp_path / "ipc" / "__init__.py").write_text("raise SystemExit('hijacked')")
    env = {**cold.environment, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "mozartd.main", "--version"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.stdout.startswith("mozartd "), done.stderr
