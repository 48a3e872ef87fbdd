"""Asking a daemon over its socket, without a command of ours in between: submit, gates, and what became of a job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ipc.client import Client
from ipc.score.load import load_score
from tests.process.daemon import Daemon, wait_until


def submission(daemon: Daemon, path: Path, **params: Any) -> dict[str, Any]:
    """What `mozart run` sends for a score."""
    loaded = load_score(str(path))
    document = loaded.score.model_dump(mode="json")
    given = {"PATH": daemon.environment["PATH"]}
    return {"score": document, "path": loaded.path, "source": loaded.source, "environment": given, **params}


def submit(daemon: Daemon, path: Path, **params: Any) -> str:
    """The new job's id."""
    job: str = daemon.request("submit", **submission(daemon, path, **params))["job"]
    return job


def ended(daemon: Daemon, job: str, timeout: float = 30.0) -> dict[str, Any]:
    """The job when it has ended or paused."""
    (found,) = daemon.request("wait", jobs=[job], timeout=timeout)["jobs"]
    assert found["state"] not in ("queued", "running"), found
    result: dict[str, Any] = found
    return result


def play(daemon: Daemon, path: Path) -> dict[str, Any]:
    """Submit, and wait for the end: the job with its sheets, by number."""
    return outcome(daemon, ended(daemon, submit(daemon, path))["id"])


def outcome(daemon: Daemon, job: str) -> dict[str, Any]:
    """{job, sheets: {n: sheet}}."""
    found = daemon.job(job)
    return {**found["job"], "sheets": {sheet["n"]: sheet for sheet in found["sheets"]}}


def states(found: dict[str, Any]) -> dict[int, str]:
    return {n: sheet["state"] for n, sheet in found["sheets"].items()}


def moment(text: str) -> float:
    """Seconds since the epoch of a time as the daemon says it."""
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def following(daemon: Daemon, job: str, **params: Any) -> Iterator[Client]:
    """A client that has asked for a job's logs and read nothing of them."""
    with daemon.client() as client:
        client.request("logs.follow", {"job": job, "follow": True, **params})
        yield client


# ---- gates ----------------------------------------------------------------------------------------------------------


def open_gate(gate: Path) -> None:
    """Let the agent behind it go on (`gate PATH` in its script), when it has come."""

    def is_open() -> bool:
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    wait_until(is_open)


def reach(gate: Path) -> None:
    """Wait until an agent has come to its gate."""
    wait_until(gate.exists)
