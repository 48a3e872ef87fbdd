"""Agents chosen by a score, end to end: profiles, fallbacks, sessions that go on, terminals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import AGENT
from tests.process.daemon import Daemon, wait_until
from tests.process.worker import Foundry, Peer, is_ok, unhurried

NDJSON = {
    "command": {
        "argv": [str(AGENT), "--script", "{prompt_file}"], "prompt": "file",
    },
    "output": {
        "format": "ndjson",
        "lines": [
            {"when": {"t": "begin"}, "session": "id"},
            {"when": {"t": "text"}, "text": "text"},
            {"when": {"t": "end"}, "result": "answer", "ok": {"ok": True}},
        ],
    },
    "exits": {3: "quota", 4: "no_session"},
}  # fmt: skip
BEGIN, TEXT = '{"t": "begin", "id": "s-1"}', '{"t": "text", "text": "thinking"}'
END = '{"t": "end", "ok": true, "answer": "forty-two"}'
PLAY = f"say {BEGIN}\nsay {TEXT}\nsay {END}"


def put(directory: Path, name: str, profile: dict[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.yaml").write_text(json.dumps(profile))


def test_a_profile_beside_the_score_runs_and_is_rendered(
    shared_daemon: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    put(tmp_path / ".mozart" / "backends", "mine", NDJSON)
    path = score(PLAY, "say {BEGIN}", backend={"type": "mine", "command": None}, retry={"max_retries": 1})
    job = shared_daemon.run(path)
    ended = shared_daemon.wait(job)
    first, second = shared_daemon.job(job)["sheets"]
    assert first["attempts"][0]["verdict"] == "ok"
    assert (first["attempts"][0]["backend"], first["attempts"][0]["session_id"]) == ("mine", "s-1")
    assert second["attempts"][0]["verdict"] == "truncated", "exit code 0 without its last line"
    assert ended["state"] == "failed"
    shown = shared_daemon.mozart("logs", job, "--sheet", "1").stdout
    assert "thinking" in shown
    assert "{" not in shown, "rendered by its profile"


def test_a_wrong_profile_is_refused_before_anything_runs(
    shared_daemon: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    put(tmp_path / ".mozart" / "backends", "mine", {"comand": {}})
    path = score("say hello", backend={"type": "mine", "command": None})
    for verb in ("run", "validate"):
        done = shared_daemon.mozart(verb, path)
        assert done.returncode in (1, 2)
        assert "did you mean command?" in done.stderr + done.stdout


def test_later_sheets_see_the_answer_and_not_its_json(
    shared_daemon: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    put(tmp_path / ".mozart" / "backends", "mine", NDJSON)
    told = f"write told {{{{ previous_outputs[1] }}}}\n{PLAY}"
    path = score(PLAY, told, backend={"type": "mine", "command": None}, cross_sheet={"auto_capture_stdout": True})
    assert shared_daemon.wait(shared_daemon.run(path))["state"] == "completed"
    assert (tmp_path / "workspace" / "told").read_text() == "forty-two\n"


def test_a_missing_program_and_a_long_hold_go_to_the_fallback(
    shared_daemon: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    profiles = tmp_path / ".mozart" / "backends"
    put(profiles, "gone", {**NDJSON, "command": {"argv": ["/no/such/agent"]}})
    put(profiles, "spent", NDJSON)
    put(profiles, "other", NDJSON)
    fallbacks = [{"type": "spent"}, {"type": "other", "max_wait": 60}]
    script = f"attempt 2: exit 3\n{PLAY}"
    path = score(script, backend={"type": "gone", "command": None, "fallbacks": fallbacks}, retry={"max_retries": 1})
    job = shared_daemon.run(path)
    assert shared_daemon.wait(job)["state"] == "completed"
    attempts = shared_daemon.job(job)["sheets"][0]["attempts"]
    assert [(one["backend"], one["code"]) for one in attempts] == [("gone", "E505"), ("spent", "E104"), ("other", "")]
    assert "thinking" in shared_daemon.mozart("logs", job).stdout, "each attempt with its own renderer"
    shared_daemon.request("limits.clear", scope="spent/default/default")


def test_a_truncated_attempt_goes_on_in_its_session_and_a_lost_session_starts_anew(
    shared_daemon: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    command = {
        "argv": ["/bin/sh", "-c", f'exec {AGENT} --script "$1"', "sh", "{prompt_file}"], "prompt": "file",
        "resume": ["--resume", "{session}"], "environment": {"SESSION": "{session}"},
    }  # fmt: skip
    put(tmp_path / ".mozart" / "backends", "mine", {**NDJSON, "command": command})
    script = f"say {BEGIN}\nattempt 1: exit 0\nenv SESSION\nattempt 2: exit 4\n{PLAY}"
    path = score(script, backend={"type": "mine", "command": None}, retry={"max_retries": 2})
    job = shared_daemon.run(path)
    assert shared_daemon.wait(job)["state"] == "completed", shared_daemon.job(job)
    attempts = shared_daemon.job(job)["sheets"][0]["attempts"]
    assert [(one["mode"], one["verdict"]) for one in attempts] == [
        ("normal", "truncated"), ("resume", "no_session"), ("normal", "ok"),
    ]  # fmt: skip
    logs = shared_daemon.mozart("logs", job, "--raw").stdout
    assert "\ns-1\n" in logs, "the second attempt was given the session of the first"
    prompt = shared_daemon.request("prompt", job=job, sheet=1, attempt=2)["text"]
    assert prompt.startswith("You were interrupted")


@pytest.fixture(scope="module")
def foundry() -> Iterator[Foundry]:
    foundry = Foundry()
    yield foundry
    foundry.close()


@pytest.fixture
def peer(home: Path, foundry: Foundry) -> Iterator[Peer]:
    peer = Peer(home, foundry)
    yield peer
    peer.close()


def test_a_terminal_shows_at_once_what_a_pipe_holds_back(peer: Peer) -> None:
    script = (
        "import os, sys; print('now', sys.stdout.isatty(), os.get_terminal_size(1).columns); open(sys.argv[1]).read()"
    )
    gate = peer.workspace("gate")
    backend = {"command": [sys.executable, "-c", f"import os; os.mkfifo({str(gate)!r}); {script}", str(gate)]}
    attempt = peer.assign("", backend={**backend, "pty": True}, watched=True)
    peer.until_said(attempt)
    assert peer.log() == [b"now True 200"]
    wait_until(gate.exists)
    gate.write_text("go")
    report = peer.finish(attempt)
    assert (report["verdict"], report["tail"]) == ("ok", "now True 200\n")


def test_a_terminal_loses_nothing_of_what_was_written_last(peer: Peer) -> None:
    report = peer.play("flood 300000\nerr apart", backend={"pty": True})
    assert report["verdict"] == "ok"
    lines = peer.log()
    assert len(lines) == 1667, "of 180 bytes each"
    assert all(len(line) == 179 for line in lines)
    assert peer.log(stream=b"stderr") == [b"apart"]


def test_the_first_byte_has_a_clock_of_its_own(peer: Peer) -> None:
    silent = peer.play("hang", first_byte_seconds=0.3)
    assert (silent["verdict"], silent["code"]) == ("timeout", "E504")
    spoke = unhurried(
        lambda n, pace: peer.play(f"say one\nsleep {0.6 * pace}", sheet=n + 1, first_byte_seconds=0.3 * pace), is_ok
    )
    assert spoke["verdict"] == "ok"


def test_a_prompt_that_does_not_fit_says_so(peer: Peer) -> None:
    report = peer.play("say " + "x" * 140_000, backend={"command": [str(AGENT), "{prompt}"]})
    assert (report["verdict"], report["code"], bool(report["hint"])) == ("failed", "E602", True)
