"""One real worker, forked by a stand-in for the supervisor, and the coordinator's end of its socket in the test's hands.

`Peer` speaks `ipc.messages` over the real socket: what it does not send, nobody sends. Run as a program, this file is the
foundry: it has imported what the supervisor preloads, and forks for each line on its stdin a stand-in that forks the
worker and holds its lifeline.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ipc.connection import hello
from ipc.cri import records
from ipc.frames import Frame, FrameDecoder, encode_frame
from ipc.messages import attempt_id
from ipc.paths import find_paths
from ipc.setup import Inherited, WorkerSetup
from tests import AGENT, ROOT
from tests.process.daemon import PATIENCE, bare_environment, is_alive, processes_of, wait_until


class Peer:
    """The worker's coordinator. One connection at a time; `hang_up` and `accept` are a coordinator's death and return."""

    def __init__(
        self,
        home: Path,
        foundry: Foundry,
        *,
        beat: float = 5.0,
        grace: float = 0.2,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.paths = find_paths({"MOZART_HOME": str(home)})
        for directory in (self.paths.runtime, self.paths.logs, self.paths.state):
            os.makedirs(directory, exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.paths.worker_socket)
        self.listener.listen()
        self.listener.settimeout(PATIENCE)
        inherited = {**bare_environment(home, home), **(environment or {})}
        self.parent, self.pid = foundry.fork(home, beat, grace, inherited)
        self.connection: socket.socket | None = None
        self.hello = self.accept()

    # ---- the connection

    def accept(self) -> Frame:
        """The worker's hello on a new connection."""
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(PATIENCE)
        self._frames = self._read(self.connection)
        self.send(hello("coordinator"))
        return next(self._frames)

    def hang_up(self) -> None:
        assert self.connection
        self.connection.close()
        self.connection = None

    def send(self, frame: Any) -> None:
        assert self.connection
        self.connection.sendall(encode_frame(frame))

    def _read(self, connection: socket.socket) -> Iterator[Frame]:
        decoder = FrameDecoder()
        while data := connection.recv(1 << 20):
            yield from decoder.feed(data)

    def until(self, kind: str, attempt: str | None = None) -> Frame:
        """The next frame of this type (of this attempt); others before it are passed over."""
        for frame in self._frames:
            if frame["type"] == kind and attempt in (None, frame.get("attempt")):
                return frame
        raise AssertionError(f"the worker hung up before {kind}:\n{self.printed()}")

    def next(self) -> Frame:
        return next(self._frames)

    def until_said(self, attempt: str) -> None:
        """Until a watched attempt's log holds something."""
        while not self.until("grew", attempt)["size"]:
            pass

    # ---- attempts

    def assign(
        self, script: str = "", sheet: int = 1, *, backend: Any = None, validations: Any = (), **fields: Any
    ) -> str:
        """Assign a sheet whose agent plays this script; the attempt's id. `fields` are laid over the assignment."""
        attempt = attempt_id("song-1", sheet, 1)
        workspace = fields.pop("workspace", str(self.home / "workspace"))
        template = f"begin\n{script}\nend\n"
        self.send({
            "type": "assign", "attempt": attempt, "job": "song-1", "sheet": sheet, "k": 1, "mode": "normal",
            "log": self.paths.attempt_log("song-1", sheet, 1),
            "prompt_file": self.paths.attempt_prompt("song-1", sheet, 1),
            "score_dir": str(self.home), "workspace": workspace, "environment": {},
            "backend": {
                "type": "command", "command": [str(AGENT)], "env": {}, "max_output_capture_bytes": 10240, **(backend or {}),
            },
            "timeout_seconds": 60.0, "idle_seconds": None,
            "prompt": {"template": template, "variables": {}},
            "variables": {"sheet_num": sheet, "workspace": workspace},
            "validations": [rule(**each) for each in validations],
            "skip_command": None, "capture": None, "last": None, "lessons": [], "session_id": None, "watched": False,
            **fields,
        })  # fmt: skip
        return attempt

    def play(self, script: str = "", **fields: Any) -> Frame:
        """Assign, and the acknowledged report."""
        return self.finish(self.assign(script, **fields))

    def finish(self, attempt: str) -> Frame:
        report = self.until("finished", attempt)
        self.ack(attempt)
        return report

    def ack(self, attempt: str) -> None:
        self.send({"type": "ack", "attempt": attempt})

    def cancel(self, attempt: str, reason: str = "somebody said so") -> None:
        self.send({"type": "cancel", "attempt": attempt, "reason": reason})

    def log(self, sheet: int = 1, stream: bytes = b"stdout") -> list[bytes]:
        """The attempt's lines. A line that was long in coming has several records."""
        lines, is_open = [], False
        with open(self.paths.attempt_log("song-1", sheet, 1), "rb") as file:
            for record in records(file.read()):
                if record.stream == stream:
                    lines.append(lines.pop() + record.content if is_open else record.content)
                    is_open = not record.full
        return lines

    def workspace(self, name: str) -> Path:
        directory = self.home / "workspace"
        directory.mkdir(exist_ok=True)
        return directory / name

    def agents(self) -> list[int]:
        """Everything alive below the worker, however it got away."""
        return processes_of(self.home)

    def printed(self) -> str:
        return (self.home / "worker.err").read_text(errors="replace")

    # ---- the end

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def cut_lifeline(self) -> None:
        """As the supervisor's death does, but the worker's exit code can still be had."""
        os.kill(self.parent, signal.SIGUSR1)

    def exit_code(self) -> int:
        """Of the worker, once it has exited."""
        code = self.home / "code"
        wait_until(code.exists)
        return int(code.read_text())

    def close(self) -> None:
        """End the worker if it has not, and see that it left nothing."""
        if is_alive(self.pid):
            self.signal(signal.SIGTERM)
        wait_until(lambda: not is_alive(self.pid) and not is_alive(self.parent) and not self.agents())
        if self.connection:
            self.connection.close()
        self.listener.close()
        print(self.printed())
        assert "Traceback" not in self.printed()


def rule(**fields: Any) -> dict[str, Any]:
    """A validation as the score's schema dumps it."""
    defaults = {
        "path": None, "pattern": None, "command": None, "working_directory": None, "description": None, "stage": 1,
        "condition": None, "retry_count": 0, "retry_delay_ms": 200, "timeout_seconds": 30.0,
    }  # fmt: skip
    return {**defaults, **fields}


def unhurried(play: Callable[[int, int], Frame], fits: Callable[[Frame], bool]) -> Frame:
    """The first report that fits, else the last, of an agent whose time runs from its start: played with a sheet of its own and
    all times once, four and sixteen times as long, because a busy machine takes a while until an agent says its first word."""
    report: Frame = {}
    for sheet, pace in enumerate((1, 4, 16), start=1):
        report = play(sheet, pace)
        if fits(report):
            break
    return report


def has_spoken(report: Frame) -> bool:
    """In time. What it says while it is being stopped is in its log, too."""
    return bool(report["lines"]) and "never" not in report["message"]


def is_ok(report: Frame) -> bool:
    return bool(report["verdict"] == "ok")


def seconds_taken(action: Callable[[], Any]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


class Foundry:
    """The process that forks workers: starting one costs a fork instead of an interpreter with all imports."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.process.worker"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True, bufsize=1)

    def fork(self, home: Path, beat: float, grace: float, environment: Mapping[str, str]) -> tuple[int, int]:
        """The pids of the stand-in and of its worker."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([str(home), beat, grace, dict(environment)]) + "\n")
        pids = home / "pids"
        wait_until(pids.exists)
        parent, worker = pids.read_text().split()
        return int(parent), int(worker)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0


def serve() -> None:
    from workers.mask import preload

    preload()
    # Nobody here waits for the stand-ins.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            code = 70
            try:
                code = stand_in(*json.loads(line))
            finally:
                os._exit(code)


def stand_in(home: str, beat: float, grace: float, environment: dict[str, str]) -> int:
    """The supervisor of one worker: holds its lifeline, and tells its pid and its exit code in files."""
    become_a_process_of_its_own(home, environment)
    lifeline, held = os.pipe()
    # As the supervisor leaves it to its children.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    pid = os.fork()
    if pid == 0:
        os.close(held)
        os._exit(work(home, beat, grace, lifeline))
    os.close(lifeline)
    signal.signal(signal.SIGUSR1, lambda *_: os.close(held))
    tell(home, "pids", f"{os.getpid()} {pid}")
    tell(home, "code", str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    return 0


def become_a_process_of_its_own(home: str, environment: dict[str, str]) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    errors = os.open(f"{home}/worker.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in enumerate((null, errors, errors)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(environment)


def work(home: str, beat: float, grace: float, lifeline: int) -> int:
    from workers.main import run

    liveness = os.open(f"{home}/liveness", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        paths = find_paths({"MOZART_HOME": home})
        return run(WorkerSetup("boot-1-1", 1, 0, Inherited(lifeline, liveness, beat), paths, 4, grace))
    except BaseException:
        traceback.print_exc()
        return 70


def tell(home: str, name: str, text: str) -> None:
    """Whole or not at all."""
    with open(f"{home}/.{name}", "w") as file:
        file.write(text)
    os.rename(f"{home}/.{name}", f"{home}/{name}")


if __name__ == "__main__":
    # Before any fork.
    import workers.main  # noqa: F401

    serve()
