"""Coordinators die while they are asked: whoever asks over a line gets one answer, and what he asked for is done once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ipc.errors import EXIT_UNREACHABLE, MozartError
from ipc.line import KEYED, Line
from ipc.messages import METHODS
from tests.process.asking import submission
from tests.process.daemon import PATIENCE, Daemon, wait_until

Score = Callable[..., Path]


def test_what_carries_a_key_is_a_request() -> None:
    assert set(METHODS) >= KEYED


def is_replaced(daemon: Daemon, coordinator: int) -> bool:
    return daemon.is_listening() and daemon.pid("coordinator") != coordinator


def test_kill_9_while_four_ask_without_a_pause(daemon: Daemon, score: Score) -> None:
    question = submission(daemon, score("say hello"), at=time.time() + 3600)
    over = threading.Event()

    def ask() -> list[str]:
        jobs = []
        with Line(daemon.socket, PATIENCE) as line:
            while not over.is_set():
                jobs.append(line.request("submit", question)["job"])
                assert line.request("status", {"job": jobs[-1]})["job"]["id"] == jobs[-1]
                assert line.request("cancel", {"job": jobs[-1]})["sheets"] == [1]
        return jobs

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for _ in range(3):
                before = daemon.pid("coordinator")
                daemon.kill("coordinator")
                wait_until(partial(is_replaced, daemon, before))
        finally:
            over.set()
        given = sorted(job for each in asking for job in each.result())
    listed = json.loads(daemon.mozart("list", "--all", "--json").stdout)["jobs"]
    assert sorted(job["id"] for job in listed) == given, "each submission is one job"
    assert {job["state"] for job in listed} == {"cancelled"}


def refusal(daemon: Daemon, **params: Any) -> str:
    """Nothing was done, so it is looked at anew each time."""
    with pytest.raises(MozartError) as caught:
        daemon.request("cancel", job="nobody", **params)
    return caught.value.message


def test_the_same_key_gets_the_same_answer_from_the_next_coordinator(daemon: Daemon, score: Score) -> None:
    def ask_all() -> list[Any]:
        question = submission(daemon, score("say hello\nexit 1", retry={"max_retries": 1}), at=time.time() + 3600)
        job = daemon.request("submit", **question, key="1")["job"]
        return [
            job,
            daemon.request("priority", job=job, priority=7, key="2"),
            daemon.request("pause", job=job, key="3"),
            daemon.request("resume", job=job, key="4"),
            daemon.request("cancel", job=job, key="5"),
            daemon.request("retry", job=job, key="6"),
            daemon.request("cancel", job=job, key="7"),
            daemon.request("hold", scope="claude_cli", seconds=600, key="8"),
            daemon.request("limits.clear", scope="claude_cli", key="9"),
            daemon.request("group.set", name="night", parallel=2, key="10"),
            refusal(daemon, key="11"),
        ]

    first = ask_all()
    assert ask_all() == first
    daemon.kill("coordinator")
    assert ask_all() == first
    asked = [event["type"] for event in daemon.events(first[0]) if event["type"].startswith("asked.")]
    assert asked == [f"asked.{verb}" for verb in ("priority", "pause", "resume", "cancel", "retry", "cancel")]
    assert len(daemon.request("list", all=True)["jobs"]) == 1
    assert "cannot use a key of 1000 characters" in refusal(daemon, key="1" * 1000)


def test_a_daemon_that_is_gone_is_told_at_once(home: Path) -> None:
    daemon = Daemon(home)
    begun = time.monotonic()
    done = daemon.mozart("cancel", "song")
    assert done.returncode == EXIT_UNREACHABLE
    assert done.stderr.startswith("mozart: cannot reach the daemon at ")
    assert time.monotonic() - begun < PATIENCE / 2, "nobody looks for one that never was"
