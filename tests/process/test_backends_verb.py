"""`mozart backends`: what this machine has, by invented programs on an invented PATH; no account, no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.process.daemon import make_scripts


def mozart(place: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    if not (place / "bin").is_dir():
        make_scripts(place / "bin")
    env = {"PATH": f"{place}/programs:/usr/bin:/bin", "HOME": str(place), "MOZART_HOME": str(place), **environment}
    command = [sys.executable, str(place / "bin" / "mozart"), "backends", *words]
    done = subprocess.run(command, env=env, cwd=place, text=True, capture_output=True, timeout=40)
    return done.returncode, done.stdout, done.stderr


def program(place: Path, name: str, script: str) -> None:
    path = place / "programs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def backend(place: Path, name: str, *words: str, **environment: str) -> dict[str, Any]:
    _, stdout, stderr = mozart(place, *(words or ("show", name)), "--json", **environment)
    assert stdout, stderr
    return next(each for each in json.loads(stdout)["backends"] if each["name"] == name)


def test_the_list_says_what_is_installed_and_what_is_not(tmp_path: Path) -> None:
    program(tmp_path, "claude", "echo '2.1.7 (Claude Code)'")
    claude = backend(tmp_path, "claude_cli", "list")
    assert (claude["kind"], claude["program"], claude["version"], claude["available"]) == (
        "cli",
        "claude",
        "2.1.7",
        True,
    )
    codex = backend(tmp_path, "codex_cli", "list")
    assert not codex["available"]
    assert "codex" in codex["why"]
    assert backend(tmp_path, "goose", "list")["kind"] == "profile"
    code, stdout, _ = mozart(tmp_path)
    assert code == 0
    assert "qwen-code" in stdout


def test_a_login_is_seen_and_never_read(tmp_path: Path) -> None:
    program(tmp_path, "claude", "echo 2.1.7")
    assert backend(tmp_path, "claude_cli")["logged_in"] is False
    assert backend(tmp_path, "claude_cli", ANTHROPIC_API_KEY="invented")["logged_in"] is True
    (tmp_path / ".claude").mkdir()
    # A pipe nobody writes into: whoever opened it for reading would hang.
    os.mkfifo(tmp_path / ".claude" / ".credentials.json")
    assert backend(tmp_path, "claude_cli")["logged_in"] is True


def test_profiles_of_the_user_are_listed_and_broken_ones_told(tmp_path: Path) -> None:
    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "mine.yaml").write_text("command: {argv: [mine], prompt: stdin}\noutput: {format: text}\n")
    (tmp_path / "backends" / "wrong.yaml").write_text("commando: [x]\n")
    program(tmp_path, "mine", "echo mine 4.5")
    mine = backend(tmp_path, "mine", "list")
    assert (mine["kind"], mine["program"], mine["available"]) == ("profile", "mine", True)
    wrong = backend(tmp_path, "wrong", "list")
    assert not wrong["available"]
    assert "wrong.yaml" in wrong["why"]


def test_a_version_that_cannot_be_had_is_empty(tmp_path: Path) -> None:
    program(tmp_path, "codex", "echo broken 1.2.3 >&2; exit 3")
    codex = backend(tmp_path, "codex_cli")
    assert (codex["available"], codex["version"]) == (True, "")


def test_a_program_that_cannot_be_run_is_not_available(tmp_path: Path) -> None:
    program(tmp_path, "codex", "")
    (tmp_path / "programs" / "codex").write_text("neither a program nor a script")
    codex = backend(tmp_path, "codex_cli")
    assert (codex["available"], codex["why"].endswith("/codex: Exec format error")) == (False, True)


def test_check_exits_with_whether_it_can_be_used(tmp_path: Path) -> None:
    assert mozart(tmp_path, "check", "gemini_cli")[0] == 1
    program(tmp_path, "gemini", "echo 0.40.0")
    assert mozart(tmp_path, "check", "gemini_cli")[0] == 0


def test_check_runs_a_prompt_only_when_told_to(tmp_path: Path) -> None:
    """The program notes that it was asked."""
    program(tmp_path, "claude", f"echo 2.1.7; [ $1 = --version ] || echo asked > {tmp_path}/asked")
    assert "run" not in backend(tmp_path, "claude_cli", "check", "claude_cli")
    assert not (tmp_path / "asked").exists()
    code, stdout, _ = mozart(tmp_path, "check", "claude_cli", "--run", "--json")
    ran = json.loads(stdout)["backends"][0]["run"]
    assert (tmp_path / "asked").exists()
    assert code == 1, "it answered, but that was no result"
    assert ran["verdict"] == "truncated"


def test_check_runs_a_prompt_to_its_answer(tmp_path: Path) -> None:
    result = '{"type":"result","subtype":"success","is_error":false,"result":"ready","num_turns":1}'
    program(tmp_path, "claude", f"[ $1 = --version ] && echo 2.1.7 || echo '{result}'")
    code, stdout, stderr = mozart(tmp_path, "check", "claude_cli", "--run", "--json")
    ran = json.loads(stdout)["backends"][0]["run"]
    assert (code, ran["verdict"]) == (0, "ok"), stderr
    assert "ready" in ran["answer"]


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    code, _, stderr = mozart(tmp_path, "show", "claude_cil")
    assert code == 1
    assert "claude_cli" in stderr
    assert mozart(tmp_path, "frobnicate")[0] == 2
