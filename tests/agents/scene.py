"""One real program in one job of a real daemon: write its score, run it, look at what came of it and at what it was asked.

The model's side is a script for tests/fakes/model_apis.py; each scene has a HOME, a key and thereby a limit scope of its
own, so that a hold of one test holds no other.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipc import cri
from tests.agents.programs import Program
from tests.process.daemon import Daemon, environment_of, is_alive, processes_of, wait_until

#: Seconds that a program may take for what it does at once, on a busy machine.
PATIENCE = 60.0
#: Where nobody listens.
NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Apis:
    """The running server of model APIs."""

    url: str
    directory: Path
    entering: tuple[str, ...]
    """What puts a command into its network namespace."""


class Scene:
    def __init__(self, program: Program, apis: Apis, daemon: Daemon, directory: Path) -> None:
        self.program, self.apis, self.daemon = program, apis, daemon
        self.workspace = directory / "workspace"
        self.home = directory / "home"
        self.home.mkdir()
        self.directory = directory
        self.script = secrets.token_hex(6)
        self.key = f"sk-invented-{secrets.token_hex(8)}"
        self.url = f"{apis.url}/{self.script}"
        self.job = ""

    def __repr__(self) -> str:
        return f"<Scene {self.program.name} {self.job}>"

    # ---- before

    def score(self, *lines: str, backend: dict[str, Any] | None = None, **fields: Any) -> Path:
        """`lines` are what the model does; `fields` are laid over a score with one sheet that asks for anything."""
        (self.apis.directory / self.script).write_text("\n".join(lines))
        url = NOBODY if lines == ("refused",) else self.url
        section = self.program.section(url, self.home, self.key) | (backend or {})
        score = {
            "name": self.program.name,
            "workspace": str(self.workspace),
            "backend": section,
            "sheet": {"size": 1, "total_items": 1},
            "prompt": {"template": "Do what is to be done."},
            "retry": {"max_retries": 0, "completion_delay_seconds": 0},
            "pause_between_sheets_seconds": 0,
            **fields,
        }
        path = self.directory / "score.yaml"
        path.write_text(json.dumps(score, indent=1))
        return path

    def start(self, *lines: str, **fields: Any) -> str:
        self.job = self.daemon.run(self.score(*lines, **fields))
        return self.job

    def play(self, *lines: str, **fields: Any) -> dict[str, Any]:
        """The first attempt, as it ended."""
        self.start(*lines, **fields)
        return self.ended()

    # ---- meanwhile

    def ended(self, k: int = 1) -> dict[str, Any]:
        for event in self.daemon.events(self.job, PATIENCE):
            if event["type"] == "attempt.finished" and event["attempt"] == k:
                break
        return self.attempt(k)

    def sheet(self) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.job(self.job)["sheets"][0]
        return found

    def attempt(self, k: int = 1) -> dict[str, Any]:
        found: dict[str, Any] = self.sheet()["attempts"][k - 1]
        return found

    def state(self) -> str:
        return str(self.daemon.job(self.job)["job"]["state"])

    def hold(self) -> dict[str, Any] | None:
        """What `mozart limits` shows for this scene's scope."""
        start = f"{self.program.backend}/"
        holds = self.daemon.request("limits")["holds"]
        mine = [hold for hold in holds if hold["name"].startswith(start) and hold["waiting"]]
        assert len(mine) <= 1, "another scene left a sheet waiting"
        return mine[0] if mine else None

    def agent(self) -> int:
        """The running agent's pid."""

        def running() -> int:
            attempts = self.sheet()["attempts"]
            return int(attempts[-1]["agent_pid"] or 0) if attempts else 0

        return wait_until(running, PATIENCE)

    def has_written(self, text: str) -> bool:
        """Whether this stands in a file of its HOME: what it remembers."""
        files = [path for path in self.home.rglob("*") if path.is_file()]
        return any(text.encode() in path.read_bytes() for path in files)

    def processes(self) -> list[int]:
        """Everything that this scene's attempts have started, wherever it has gone."""
        mark = f"MOZART_JOB_ID={self.job}".encode()
        return [pid for pid in processes_of(self.daemon.home) if mark in environment_of(pid) and is_alive(pid)]

    # ---- afterwards

    def printed(self, k: int = 1, stream: bytes = cri.STDOUT) -> bytes:
        """What the log holds of one of its streams."""
        records = cri.records(Path(self.attempt(k)["log"]).read_bytes())
        return b"".join(each.content + b"\n" * each.full for each in records if each.stream == stream)

    def told(self) -> str:
        """All that a person needs to see why it is not what was expected."""
        log = Path(self.attempt()["log"]).read_text(errors="replace")
        return f"{json.dumps(self.attempt(), indent=1)}\n{log[-4000:]}"

    def requests(self) -> list[dict[str, Any]]:
        """What the model was asked, without what was asked beside it."""
        path = self.apis.directory / f"{self.script}.requests"
        noted = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [request for request in noted if request["n"] >= 0]

    def close(self) -> None:
        """End the job if it has not ended, and see that nothing is left of it."""
        if self.state() not in ("completed", "failed", "cancelled"):
            self.daemon.request("cancel", job=self.job)
            self.daemon.wait(self.job, PATIENCE)
        wait_until(lambda: not self.processes(), 5.0)
