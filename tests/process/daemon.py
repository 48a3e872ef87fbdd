"""A real daemon in a directory of its own, for tests and benches: start it, ask it, kill parts of it, see what is left.

`Daemon` runs the supervisor of this checkout with an environment in which nothing of the user's is left;
the fixtures `daemon` and `start_daemon` (conftest) stop it and check what it leaves behind. `write_score` makes scores
whose sheets are scripts for tests/fakes/agent. Waiting is for conditions: events where there is one, else `wait_until`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ipc.client import Client, Disconnected
from ipc.errors import MozartError
from ipc.paths import find_paths
from mozartd.launch import Request
from tests import AGENT, ROOT

#: Seconds that anything may take on a busy machine before a test gives up.
PATIENCE = 30.0

T = TypeVar("T")


def wait_until(condition: Callable[[], T], patience: float = PATIENCE) -> T:
    """What `condition` gives as soon as it gives something true."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience} s for nothing: {condition}")
        time.sleep(0.01)
    return found


# ---- processes ------------------------------------------------------------------------------------------------------


def environment_of(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Running, and not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def processes_of(home: Path) -> list[int]:
    """Every process that carries the mark of the daemon at `home`: itself, its agents, their runaways, its clients."""
    marks = {b"MOZART_HOME=" + os.fsencode(home), b"MOZART_STATE=" + os.fsencode(home / "state")}
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    return [pid for pid in pids if marks.intersection(environment_of(pid)) and is_alive(pid)]


def children_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
        return [int(child) for child in file.read().split()]
    return []


def title_of(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", "rb") as file:
        return file.read().decode().strip()
    return ""


def works_of(pid: int) -> list[int]:
    """What the fork server of this process, a worker say, has under way."""
    servers = [child for child in children_of(pid) if title_of(child) == "mozart-helper"]
    return [work for server in servers for work in children_of(server)]


def describe(pid: int) -> str:
    """Its parent, the attempt it belongs to, if any, and its command line."""
    attempt = [entry.decode() for entry in environment_of(pid) if entry.startswith(b"MOZART_ATTEMPT_ID=")]
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{pid}/stat", "rb") as stat,
        open(f"/proc/{pid}/cmdline", "rb") as line,
    ):
        parent = stat.read().rpartition(b")")[2].split()[1].decode()
        return " ".join([f"{pid} of {parent}:", *attempt, line.read().replace(bytes(1), b" ").decode(errors="replace")])
    return f"{pid}: gone"


def end_client(process: subprocess.Popen[bytes]) -> None:
    """Whatever state it is in, stopped or long gone."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


# ---- the daemon -----------------------------------------------------------------------------------------------------

#: Both console scripts, as an editable install makes them: the checkout is last on sys.path, after a user's PYTHONPATH.
SCRIPT = """#!{python}
import sys
sys.path.append({root!r})
from mozartd.entry import {name}
sys.exit({name}())
"""


def make_scripts(directory: Path) -> None:
    directory.mkdir(parents=True)
    for name in ("mozart", "mozartd"):
        script = directory / name
        script.write_text(SCRIPT.format(python=sys.executable, root=str(ROOT), name=name))
        script.chmod(0o755)


def bare_environment(home: Path, scripts: Path) -> dict[str, str]:
    """All that a daemon, a client or an agent of a test inherits."""
    path = [str(scripts), os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]
    user = home / "user"
    user.mkdir(exist_ok=True)
    return {"PATH": ":".join(path), "HOME": str(user), "LANG": "C.UTF-8", "MOZART_HOME": str(home), "TERM": "dumb"}


class Daemon:
    def __init__(self, home: Path, settings: Mapping[str, Any] | None = None, workers: int = 2) -> None:
        self.home = home
        self.workers = workers
        self.output = home / "output"
        """What the supervisor and its children printed."""
        self.scripts = home / "bin"
        self.installed = ROOT
        """Where the packages are that it runs from."""
        self.prefix: tuple[str, ...] = ()
        """A command that the daemon is started through and that becomes it, such as nsenter."""
        self.process: subprocess.Popen[bytes] | None = None
        self.clients: list[subprocess.Popen[bytes]] = []
        if not self.scripts.is_dir():
            make_scripts(self.scripts)
        self.environment = bare_environment(home, self.scripts)
        (home / "config.yaml").write_text(json.dumps({"stop_grace_seconds": 0.5, **(settings or {})}))

    def __repr__(self) -> str:
        return f"<Daemon {self.home} pid {self.process.pid if self.process else None}>"

    @property
    def socket(self) -> str:
        return str(self.home / "run" / "mozartd.sock")

    def start(self, by_command: bool = False) -> Daemon:
        """As what `mozartd start --foreground` executes in the end; `by_command`: by that, which takes a fifth longer."""
        command = [str(self.scripts / "mozartd"), "start", "--foreground", "--workers", str(self.workers)]
        if not by_command:
            request = Request(find_paths(self.environment), workers=self.workers).to_json()
            command = [sys.executable, "-P", str(self.installed / "mozartd" / "entry.py"), "supervise", request]
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, *command], cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        wait_until(self.is_ready)
        return self

    def is_ready(self) -> bool:
        """It answers, and all its workers have said hello."""
        assert self.process
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon exited with {self.process.returncode}:\n{self.printed()}")
        try:
            status = self.status()
        except MozartError:
            return False
        return bool(status["state"] == "ready" and len(status["workers"]) == self.workers)

    def printed(self) -> str:
        log = self.home / "state" / "mozartd.log"
        texts = [path.read_text(errors="replace") for path in (self.output, log) if path.exists()]
        return "\n".join(texts)

    # ---- asking

    def client(self, timeout: float | None = PATIENCE) -> Client:
        return Client(self.socket, timeout)

    def request(self, method: str, **params: Any) -> Any:
        with self.client() as client:
            return client.request(method, params)

    def status(self) -> dict[str, Any]:
        result: dict[str, Any] = self.request("daemon.status")
        return result

    def job(self, job: str) -> dict[str, Any]:
        result: dict[str, Any] = self.request("status", job=job)
        return result

    def mozart(self, *args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run `mozart ARGS` to its end."""
        return self.call("mozart", *args, **more)

    def mozartd(self, *args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.call("mozartd", *args, **more)

    def call(self, program: str, *args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {"cwd": self.home, "stdin": subprocess.DEVNULL, "timeout": PATIENCE, **more}
        options["env"] = {**self.environment, **more.get("env", {})}
        return subprocess.run([self.scripts / program, *args], text=True, capture_output=True, **options)

    def popen(self, *args: str | Path, **more: Any) -> subprocess.Popen[bytes]:
        """Start `mozart ARGS`; ended with the daemon when the test does not end it."""
        options = {
            "cwd": self.home,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **more,
        }
        options["env"] = {**self.environment, **more.get("env", {})}
        process = subprocess.Popen([self.scripts / "mozart", *args], **options)
        self.clients.append(process)
        return process

    def run(self, score: Path, *args: str) -> str:
        """Submit; the job's id."""
        done = self.mozart("run", score, "--detach", *args)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    # ---- waiting

    def events(self, job: str | None = None, patience: float = PATIENCE) -> Iterator[dict[str, Any]]:
        """Every event from the first on, once, also across the coordinator's deaths; ends with the job."""
        since, deadline = 0, time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                with self.client(deadline - time.monotonic()) as client:
                    asked = {"since": since, "follow": True, **({"job": job} if job else {})}
                    client.request("events.follow", asked)
                    for method, event in client.notifications():
                        if method == "events.end":
                            return
                        since = event["id"]
                        yield event
            except Disconnected:
                wait_until(self.is_listening)
        raise AssertionError(f"no more events within {patience} s")

    def is_listening(self) -> bool:
        with contextlib.suppress(MozartError), self.client():
            return True
        return False

    def wait_for(self, job: str, kind: str, sheet: int | None = None, patience: float = PATIENCE) -> dict[str, Any]:
        """The first event of this type (of this sheet)."""
        for event in self.events(job, patience):
            if event["type"] == kind and sheet in (None, event.get("sheet")):
                return event
        raise AssertionError(f"{job} ended without {kind}")

    def wait(self, job: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The job as it ended."""
        for _ in self.events(job, patience):
            pass
        result: dict[str, Any] = self.job(job)["job"]
        return result

    def calm(self) -> None:
        """End every job and every hold, and forget a stand-in for Claude."""
        for job in self.request("list")["jobs"]:
            with contextlib.suppress(MozartError):  # It has just ended.
                self.request("cancel", job=job["id"])
            self.wait(job["id"])
        for hold in self.request("limits")["holds"]:
            self.request("limits.clear", scope="/".join(hold["scope"].values()))
        (self.scripts / "claude").unlink(missing_ok=True)

    # ---- killing

    def pid(self, name: str) -> int:
        """Of `supervisor`, `coordinator`, `worker` (the first) or `worker:2`."""
        status = self.status()
        if name == "supervisor":
            return int(status["pid"])
        if name == "coordinator":
            return int(status["coordinator"]["pid"])
        number = int(name.partition(":")[2] or 1)
        return int(status["workers"][number - 1]["pid"])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """The pid that was sent the signal."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def kill_everything(self) -> None:
        """As a power cut does it: every process at once, none gets to say a word."""
        wait_until(self._kill_all)
        if self.process:
            self.process.wait(PATIENCE)

    def _kill_all(self) -> bool:
        """Whether none was left. Who was being forked while we looked is found at the next look."""
        pids = processes_of(self.home)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        return not pids

    # ---- the end

    def stop(self) -> int | None:
        """TERM, and once more when it takes its time; its exit code."""
        for client in self.clients:
            end_client(client)
        self.clients.clear()
        if self.process is None:
            return None
        for patience in (5.0, PATIENCE):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(patience)
        return None

    def remove(self) -> None:
        """Kill what is left, forget the directory."""
        if processes_of(self.home):
            self.kill_everything()
        shutil.rmtree(self.home, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """What a daemon that has stopped must not leave behind."""
        left = [describe(pid) for pid in processes_of(self.home)]
        left += [str(path) for path in (self.home / "run").glob("*.sock")]
        left += [str(path) for path in self.home.rglob("*.tmp")]
        return left


# ---- scores ---------------------------------------------------------------------------------------------------------


def write_score(directory: Path, *scripts: str, name: str = "song", backend: Any = None, **fields: Any) -> Path:
    """A score with one sheet per script for tests/fakes/agent; `fields` are laid over it. JSON is YAML."""
    cases = "".join(
        f"{{% {'if' if n == 1 else 'elif'} sheet_num == {n} %}}{script.strip()}\n"
        for n, script in enumerate(scripts, 1)
    )
    score = {
        "name": name,
        "workspace": str(directory / "workspace"),
        "backend": {"type": "command", "command": [str(AGENT)], **(backend or {})},
        "sheet": {"size": 1, "total_items": len(scripts), **fields.pop("sheet", {})},
        "prompt": {"template": f"begin\n{cases}{{% endif %}}\nend\n", **fields.pop("prompt", {})},
        "retry": {
            "base_delay_seconds": 0.05,
            "jitter": False,
            "completion_delay_seconds": 0,
            **fields.pop("retry", {}),
        },
        "pause_between_sheets_seconds": 0,
        **fields,
    }
    path = directory / f"{name}.yaml"
    path.write_text(json.dumps(score, indent=1))
    return path
