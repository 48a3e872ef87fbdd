"""The supervisor alone, over children that do next to nothing: what it starts, restarts, kills and leaves behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.client import Client
from tests.process.daemon import PATIENCE, is_alive, processes_of, wait_until

STUB = Path(__file__).with_name("stub_daemon.py")


class Stub:
    """A running supervisor with stub children."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.log = home / "output"
        env = {"PATH": os.environ["PATH"], "MOZART_HOME": str(home), **environment}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([sys.executable, STUB, home], env=env, stdout=subprocess.PIPE, stderr=log)

    def wait_ready(self) -> Stub:
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n", self.printed()
        return self

    def printed(self) -> str:
        return self.log.read_text()

    def pids(self, role: str) -> list[int]:
        """Of the living children whose title begins so, as the kernel shows them."""
        found = subprocess.run(
            ["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        )
        rows = [line.split() for line in found.stdout.splitlines()]
        return [int(row[0]) for row in rows if row[1].startswith(f"mozart-{role}"[:15]) and is_alive(int(row[0]))]

    def wait_pids(self, role: str, count: int) -> list[int]:
        return wait_until(lambda: pids if len(pids := self.pids(role)) == count else [])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_says(self, pattern: str) -> str:
        return wait_until(lambda: re.search(pattern, self.printed())).group()

    def greets(self) -> bool:
        with Client(str(self.home / "run" / "mozartd.sock"), PATIENCE):
            return True


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Stub]]:
    """`start(NOTIFY_SOCKET=…)`: a supervisor at `home` or elsewhere; afterwards nothing of it may live."""
    started: list[Stub] = []

    def begin(place: Path = home, **environment: str) -> Stub:
        started.append(Stub(place, **environment))
        return started[-1]

    yield begin
    for stub in started:
        with contextlib.suppress(ProcessLookupError):
            stub.signal(signal.SIGQUIT)
        try:
            stub.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            stub.process.kill()
            raise
    wait_until(lambda: not any(processes_of(stub.home) for stub in started))


def does(home: Path, role: str, what: str) -> None:
    (home / f"{role}.does").write_text(what)


# ---- starting and stopping


def test_it_starts_a_coordinator_and_workers_and_stops_them_in_order(start: Callable[..., Stub], home: Path) -> None:
    stub = start().wait_ready()
    assert len(stub.wait_pids("coordinator", 1)) == 1
    assert len(stub.wait_pids("worker", 2)) == 2
    for name in ("mozartd.sock", "workers.sock"):
        assert stat.S_IMODE((home / "run" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700
    stub.signal(signal.SIGTERM)
    assert stub.process.wait(PATIENCE) == 0
    order = re.findall(r"(coordinator|worker)-?\d? \(pid \d+\) stopped", stub.printed())
    assert order == ["worker", "worker", "coordinator"]
    assert os.listdir(home / "run") == []


def test_ctrl_c_reaches_it_alone(start: Callable[..., Stub]) -> None:
    stub = start().wait_ready()
    group = os.getpgid(stub.process.pid)
    assert all(os.getpgid(pid) != group for pid in stub.wait_pids("worker", 2) + stub.wait_pids("coordinator", 1))


def test_a_second_request_to_stop_does_not_wait(start: Callable[..., Stub], home: Path) -> None:
    stub = start().wait_ready()
    for pid in stub.wait_pids("worker", 2):
        os.kill(pid, signal.SIGSTOP)
    stub.signal(signal.SIGTERM)
    stub.wait_says("stopping: received SIGTERM")
    stub.signal(signal.SIGTERM)
    assert stub.process.wait(PATIENCE) == 0
    assert "killing worker-1" in stub.printed()


def test_what_the_socket_needs_is_checked(start: Callable[..., Stub], home: Path) -> None:
    (home / "run").mkdir(0o700)
    (home / "run" / "mozartd.sock").symlink_to(home / "elsewhere")
    stub = start()
    assert stub.process.wait(PATIENCE) != 0
    assert "it is a symlink" in stub.printed()


def test_a_dead_daemons_socket_is_replaced(start: Callable[..., Stub], home: Path) -> None:
    (home / "run").mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home / "run" / "mozartd.sock"))
    assert start().wait_ready().greets()


def test_a_long_path_is_no_obstacle(start: Callable[..., Stub], home: Path) -> None:
    deep = home / ("d" * 80) / ("e" * 60)
    deep.mkdir(parents=True)
    assert start(deep).wait_ready().greets()


# ---- deaths


def test_a_killed_coordinator_is_replaced_at_once(start: Callable[..., Stub]) -> None:
    stub = start().wait_ready()
    workers = stub.wait_pids("worker", 2)
    for _ in range(3):
        (old,) = stub.wait_pids("coordinator", 1)
        os.kill(old, signal.SIGKILL)
        assert stub.greets(), "whoever connects meanwhile waits"
        wait_until(lambda old=old: stub.pids("coordinator") not in ([], [old]))
    assert stub.pids("worker") == workers
    assert "was killed by SIGKILL" in stub.printed()


def test_a_killed_worker_is_replaced_and_its_orphans_killed(start: Callable[..., Stub], home: Path) -> None:
    runaway = f"setsid sh -c 'echo $$ >> {home}/agents; while :; do sleep 1000; done' & sleep 1000"
    does(home, "worker", runaway)
    stub = start().wait_ready()
    agents = wait_until(lambda: pids if len(pids := agent_pids(home)) == 2 else [])
    does(home, "worker", "")
    victim = stub.wait_pids("worker", 2)[0]
    orphaned = below(victim)
    assert len(orphaned) >= 3, "the agent, its runaway and what that runs"
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, orphaned)))
    assert all(is_alive(pid) for pid in set(agents) - set(orphaned)), "the other worker's agent is not disturbed"
    stub.wait_pids("worker", 2)


def agent_pids(home: Path) -> list[int]:
    path = home / "agents"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def below(pid: int) -> list[int]:
    """Every process that descends from `pid`."""
    rows = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True).stdout.split()
    pairs = list(zip(map(int, rows[::2]), map(int, rows[1::2]), strict=True))
    found, above = [], {pid}
    while above := {child for child, parent in pairs if parent in above}:
        found += above
    return found


def test_a_killed_supervisor_leaves_nothing_and_the_next_one_starts(start: Callable[..., Stub], home: Path) -> None:
    stub = start().wait_ready()
    stub.process.kill()
    wait_until(lambda: not processes_of(home))
    assert (home / "run" / "mozartd.sock").exists()
    assert start().wait_ready().greets()


def test_what_did_not_notice_the_supervisors_death_is_killed_before_the_next_one_starts(
    start: Callable[..., Stub], home: Path
) -> None:
    does(home, "worker", "exec sleep 1000")
    stub = start().wait_ready()
    agents = [pid for worker in stub.wait_pids("worker", 2) for pid in below(worker)]
    children = stub.wait_pids("worker", 2) + stub.wait_pids("coordinator", 1)
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    stub.process.kill()
    stub.process.wait()
    does(home, "worker", "")
    assert start().wait_ready().greets()
    wait_until(lambda: not any(map(is_alive, agents + children)))


def test_a_second_supervisor_is_refused(start: Callable[..., Stub], home: Path) -> None:
    stub = start().wait_ready()
    second = start()
    assert second.process.wait(PATIENCE) != 0
    assert stub.greets()


def test_a_child_that_cannot_boot_ends_it_all(start: Callable[..., Stub], home: Path) -> None:
    does(home, "coordinator", "cannot-boot")
    stub = start()
    assert stub.process.wait(PATIENCE) == 1
    assert "coordinator reports that it cannot start" in stub.printed()
    assert stub.printed().count("started coordinator") == 1


def test_one_that_stops_booting_later_is_tried_three_times(start: Callable[..., Stub], home: Path) -> None:
    stub = start().wait_ready()
    does(home, "coordinator", "cannot-boot")
    os.kill(stub.wait_pids("coordinator", 1)[0], signal.SIGKILL)
    assert stub.process.wait(PATIENCE) == 1
    assert stub.printed().count("started coordinator") == 4


def test_a_traceback_is_in_the_log(start: Callable[..., Stub], home: Path) -> None:
    does(home, "coordinator", "crash")
    stub = start()
    assert stub.process.wait(PATIENCE) == 1
    assert "RuntimeError: told to crash" in stub.printed()
    assert "does not stay alive" in stub.printed()


def test_the_coordinator_may_end_it_all(start: Callable[..., Stub], home: Path) -> None:
    stub = start().wait_ready()
    does(home, "coordinator", "stop-all")
    os.kill(stub.wait_pids("coordinator", 1)[0], signal.SIGKILL)
    assert stub.process.wait(PATIENCE) == 0
    assert "stopping: nothing left to do" in stub.printed()


def test_a_hung_child_is_killed_after_it_said_where_it_hangs(start: Callable[..., Stub], home: Path) -> None:
    (home / "liveness").write_text("0.6")
    stub = start().wait_ready()
    does(home, "worker", "hang")
    victim = stub.wait_pids("worker", 2)[0]
    os.kill(victim, signal.SIGKILL)
    stub.wait_says(r"worker-\d \(pid \d+\) hangs")
    stub.wait_says(r"(?s)Fatal Python error: Aborted.*in begin")
    does(home, "worker", "")
    stub.wait_says(r"was killed by SIGABRT")
    stub.wait_pids("worker", 2)


def test_a_stopped_child_is_killed_too(start: Callable[..., Stub], home: Path) -> None:
    (home / "liveness").write_text("0.6")
    stub = start().wait_ready()
    (victim,) = stub.wait_pids("coordinator", 1)
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: not is_alive(victim))
    assert stub.greets()


# ---- what is wanted changes


def test_workers_come_and_go_with_ttin_and_ttou(start: Callable[..., Stub]) -> None:
    stub = start().wait_ready()
    stub.signal(signal.SIGTTIN)
    stub.wait_pids("worker", 3)
    for count in (2, 1):
        stub.signal(signal.SIGTTOU)
        stub.wait_pids("worker", count)
    stub.signal(signal.SIGTTOU)
    stub.wait_says("(?s)1 workers now.*1 workers now")
    assert len(stub.wait_pids("worker", 1)) == 1, "never none"


def test_reload_replaces_what_would_run_with_other_settings(start: Callable[..., Stub], home: Path) -> None:
    config = home / "config.yaml"
    config.write_text("workers: 2\n")
    stub = start().wait_ready()
    (coordinator,), workers = stub.wait_pids("coordinator", 1), stub.wait_pids("worker", 2)
    config.write_text("workers: 3\nhistory_jobs: 10\n")
    stub.signal(signal.SIGHUP)
    stub.wait_says("(?s)reloading: workers: applied\n.*reloading: history_jobs: applied .coordinator restarted.\n")
    assert set(workers) < set(stub.wait_pids("worker", 3)), "workers do not read history_jobs"
    wait_until(lambda: coordinator not in stub.pids("coordinator"))
    config.write_text("workers: 3\nhistory_jobs: 10\nworker_slots: 4\n")
    stub.signal(signal.SIGHUP)
    wait_until(lambda: not set(workers) & set(stub.pids("worker")) and len(stub.pids("worker")) == 3)
    assert "told to stop by SIGUSR1" in stub.printed()


def test_reload_opens_and_closes_the_socket_for_the_group(start: Callable[..., Stub], home: Path) -> None:
    def modes() -> tuple[int, int, int]:
        places = (home / "run", home / "run" / "mozartd.sock", home / "run" / "workers.sock")
        return tuple(stat.S_IMODE(place.stat().st_mode) for place in places)  # type: ignore[return-value]

    config = home / "config.yaml"
    config.write_text("socket_mode: 0660\n")
    stub = start().wait_ready()
    assert modes() == (0o750, 0o660, 0o600)
    config.write_text("socket_mode: 0600\n")
    stub.signal(signal.SIGHUP)
    wait_until(lambda: modes() == (0o700, 0o600, 0o600))


def test_reload_keeps_the_settings_when_the_new_ones_are_wrong(start: Callable[..., Stub], home: Path) -> None:
    stub = start().wait_ready()
    before = stub.wait_pids("coordinator", 1)
    (home / "config.yaml").write_text("workerz: 3\n")
    stub.signal(signal.SIGHUP)
    stub.wait_says("keeping the current settings: cannot use the setting workerz")
    assert stub.pids("coordinator") == before


# ---- upgrades: test_upgrade.py has them with the whole daemon


def test_an_upgrade_replaces_every_child_and_keeps_what_is_held(start: Callable[..., Stub], home: Path) -> None:
    stub = start().wait_ready()
    before = stub.wait_pids("coordinator", 1) + stub.wait_pids("worker", 2)
    for number in (signal.SIGTTIN, signal.SIGUSR2):
        stub.signal(number)
    stub.wait_says(r"took over from .* with \d children(?s:.*) info ready")
    wait_until(lambda: not any(map(is_alive, before)))
    assert len(stub.wait_pids("worker", 3)) == 3, "as many as were wanted, whatever the settings say"
    assert stub.greets()
    os.kill(stub.wait_pids("worker", 3)[0], signal.SIGKILL)
    stub.wait_pids("worker", 3)
    stub.signal(signal.SIGTERM)
    assert stub.process.wait(PATIENCE) == 0
    assert os.listdir(home / "run") == []


def test_an_upgrade_while_it_stops_is_refused(start: Callable[..., Stub]) -> None:
    stub = start().wait_ready()
    worker = stub.wait_pids("worker", 2)[0]
    os.kill(worker, signal.SIGSTOP)
    stub.signal(signal.SIGTERM)
    stub.wait_says("stopping: received SIGTERM")
    stub.signal(signal.SIGUSR2)
    stub.wait_says("not upgraded: the daemon is stopping")
    os.kill(worker, signal.SIGCONT)
    assert stub.process.wait(PATIENCE) == 0
    assert "trying what is installed" not in stub.printed()


def test_a_request_to_stop_ends_the_trial(start: Callable[..., Stub], home: Path) -> None:
    os.mkfifo(home / "trial.does")
    stub = start().wait_ready()
    stub.signal(signal.SIGUSR2)
    stub.wait_says("trying what is installed")
    stub.signal(signal.SIGTERM)
    assert stub.process.wait(PATIENCE) == 0
    assert "took over" not in stub.printed()


def test_a_program_that_cannot_be_executed_any_more_changes_nothing(start: Callable[..., Stub], home: Path) -> None:
    stub = start().wait_ready()
    before = stub.wait_pids("worker", 2)
    does(home, "trial", "it does not work")
    stub.signal(signal.SIGUSR2)
    stub.wait_says("not upgraded: it does not work")
    (home / "interpreter").write_text("/nowhere/python")
    stub.signal(signal.SIGUSR2)
    stub.wait_says("not upgraded: cannot run /nowhere/python: No such file or directory")
    (home / "interpreter").write_text(f"{sys.executable} /nowhere/python")
    does(home, "trial", "")
    stub.signal(signal.SIGUSR2)
    stub.wait_says("not upgraded: cannot execute it: No such file or directory")
    assert stub.greets()
    assert stub.pids("worker") == before


# ---- systemd


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_it_tells_systemd_how_it_is(start: Callable[..., Stub], home: Path, kind: str) -> None:
    address = str(home / "notify") if kind == "path" else f"@{home}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address.replace("@", "\0"))
        systemd.settimeout(PATIENCE)

        def hear(expected: str) -> str:
            while expected not in (said := systemd.recv(4096).decode()):
                pass
            return said

        stub = start(NOTIFY_SOCKET=address, WATCHDOG_USEC="400000")
        assert "STATUS=running, 2 workers" in hear("READY=1")
        hear("WATCHDOG=1")
        hear("WATCHDOG=1")
        (home / "config.yaml").write_text("history_jobs: 10\n")
        stub.signal(signal.SIGHUP)
        assert re.search(r"MONOTONIC_USEC=\d+", hear("RELOADING=1"))
        hear("READY=1")
        stub.signal(signal.SIGUSR2)
        assert "STATUS=upgrading" in hear("RELOADING=1")
        assert "STATUS=running" in hear("READY=1")
        hear("WATCHDOG=1")
        stub.signal(signal.SIGTERM)
        hear("STOPPING=1")
        assert stub.process.wait(PATIENCE) == 0
