"""Whom the daemon, its clients and its agents believe: variables, directories, peers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.daemon import Daemon

#: What git's own commands need, and nothing of this machine's.
GIT = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.invalid", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.invalid", "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


def shell(script: str, directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-ec", script], cwd=directory, env=environment, text=True, capture_output=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wrote(daemon: Daemon, score: Path) -> str:
    """What the score's one sheet printed."""
    job = daemon.run(score)
    assert daemon.wait(job)["state"] == "completed"
    return daemon.mozart("logs", job, "--raw").stdout


# ---- A1 -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
def test_A01_an_agent_commits_to_its_own_repository_whoever_started_the_daemon(
    cold: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    mine = {**cold.environment, **GIT}
    a, b = tmp_path / "a", tmp_path / "b"
    commits = "cd $MOZART_WORKSPACE/../b; git add -A; git commit -qm B; env"
    hooked = score("say first", name="hooked")
    later = score("", name="later", backend={"command": ["sh", "-c", commits]})
    for place in (a, b):
        place.mkdir()
        shell(
            "git init -q . && git config user.name B && git config user.email b@example.invalid"
            " && echo $PWD > own && git add -A && git commit -qm first",
            place, mine,
        )  # fmt: skip
    shell("git worktree add -q ../linked -b side", a, mine)
    hook = a / ".git" / "hooks" / "pre-commit"
    hook.write_text(f"#!/bin/sh\nexec mozart run --detach {hooked}\n")
    hook.chmod(0o755)
    shell("echo more > more && git add -A && git commit -qm hooked", tmp_path / "linked", mine)
    before = shell("git rev-parse side", a, mine)

    (b / "new").touch()
    printed = wrote(cold, later)

    assert shell("git log -1 --format=%s,%an", b, mine).strip() == "B,B", printed
    assert shell("git rev-parse side", a, mine) == before
    left = [line for line in printed.splitlines() if line.startswith("GIT_")]
    assert left == ["GIT_CONFIG_NOSYSTEM=1"]


def test_A01_what_no_hook_left_stays_and_what_a_setting_names_is_handed_on() -> None:
    from ipc.environment import is_named, without_git

    bot = {"GIT_AUTHOR_NAME": "bot", "GIT_SSH_COMMAND": "ssh -i key", "GIT_CONFIG_COUNT": "1", "HOME": "/h"}
    assert without_git(bot, 7) == bot, "a unit's, or a person's own"
    hook = {**bot, "GIT_INDEX_FILE": ".git/index", "GIT_CONFIG_KEY_0": "a.b", "GITHEAD_0123abc": "x", "GIT_EDITOR": ":"}
    assert without_git(hook, 7) == {"GIT_SSH_COMMAND": "ssh -i key", "HOME": "/h"}
    unit = {**hook, "SYSTEMD_EXEC_PID": "7"}
    assert without_git(unit, 7) == unit
    assert "GIT_INDEX_FILE" not in without_git(unit, 8), "the unit started somebody else"
    assert is_named("GIT_DIR", ["GIT_*"])
    assert is_named("GIT_DIR", ["PATH", "GIT_DIR"])
    assert not any(is_named("GIT_DIR", [all_]) for all_ in ("*", "?*", "[A-Z]*", "**", "G*T_DIR", ""))
