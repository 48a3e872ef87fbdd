"""One real worker, forked by a stand-in for the supervisor, and the coordinator's end of its socket in the test's hands.

`Peer` speaks `ipc.messages` over the real socket: what it does not send, nobody sends. Run as a program, this file is the
process that forks the worker and holds its lifeline: `python -m tests.process.worker HOME BEAT GRACE`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ipc.connection import hello
from ipc.cri import records
from ipc.frames import Frame, FrameDecoder, encode_frame
from ipc.messages import attempt_id
from ipc.paths import find_paths
from tests.conftest import AGENT, ROOT
from tests.process.daemon import PATIENCE, bare_environment, processes_of, wait_until


class Peer:
    """The worker's coordinator. One connection at a time; `hang_up` and `accept` are a coordinator's death and return."""

    def __init__(
        self, home: Path, *, beat: float = 5.0, grace: float = 0.2, environment: Mapping[str, str] | None = None
    ):
        self.home = home
        self.paths = find_paths({"MOZART_HOME": str(home)})
        for directory in (self.paths.runtime, self.paths.logs, self.paths.state):
            os.makedirs(directory, exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.paths.worker_socket)
        self.listener.listen()
        self.listener.settimeout(PATIENCE)
        with open(home / "worker.err", "wb") as errors:
            self.parent = subprocess.Popen(
                [sys.executable, "-m", "tests.process.worker", str(home), str(beat), str(grace)],
                cwd=ROOT,
                env={**bare_environment(home, home), **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self.parent.stdout
        self.pid = int(self.parent.stdout.readline())
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
        """The contents of the attempt's records."""
        with open(self.paths.attempt_log("song-1", sheet, 1), "rb") as file:
            return [record.content for record in records(file.read()) if record.stream == stream]

    def workspace(self, name: str) -> Path:
        directory = self.home / "workspace"
        directory.mkdir(exist_ok=True)
        return directory / name

    def agents(self) -> list[int]:
        """Everything alive below the worker, however it got away."""
        return [pid for pid in processes_of(self.home) if pid not in (self.pid, self.parent.pid)]

    def printed(self) -> str:
        return (self.home / "worker.err").read_text(errors="replace")

    # ---- the end

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def cut_lifeline(self) -> None:
        """As the supervisor's death does, but its exit code can still be had."""
        assert self.parent.stdin
        self.parent.stdin.close()

    def exit_code(self) -> int:
        """Of the worker, once it has exited."""
        return self.parent.wait(PATIENCE)

    def close(self) -> None:
        """End the worker if it has not, and see that it left nothing."""
        if self.parent.poll() is None:
            self.signal(signal.SIGTERM)
            self.parent.wait(PATIENCE)
        wait_until(lambda: not processes_of(self.home))
        if self.connection:
            self.connection.close()
        self.listener.close()
        for pipe in (self.parent.stdin, self.parent.stdout):
            assert pipe
            pipe.close()
        print(self.printed())
        assert "Traceback" not in self.printed()


def rule(**fields: Any) -> dict[str, Any]:
    """A validation as the score's schema dumps it."""
    defaults = {
        "path": None, "pattern": None, "command": None, "working_directory": None, "description": None, "stage": 1,
        "condition": None, "retry_count": 0, "retry_delay_ms": 200, "timeout_seconds": 30.0,
    }  # fmt: skip
    return {**defaults, **fields}


def seconds_taken(action: Callable[[], Any]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def main(home: str, beat: str, grace: str) -> int:
    from ipc.setup import Inherited, WorkerSetup
    from workers.main import run

    lifeline, held = os.pipe()
    liveness = os.open(os.path.join(home, "liveness"), os.O_RDWR | os.O_CREAT, 0o600)
    paths = find_paths({"MOZART_HOME": home})
    # As the supervisor leaves it to its children.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    pid = os.fork()
    if pid == 0:
        os.close(held)
        code = 70
        try:
            code = run(
                WorkerSetup("boot-1-1", 1, 0, Inherited(lifeline, liveness, float(beat)), paths, 4, float(grace))
            )
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(lifeline)
    print(pid, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os.close(held)), daemon=True).start()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
