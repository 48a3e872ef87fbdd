"""D13: shells complete every closed set, unknown backends are doubted, a word means the same in a score and when typed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.daemon import Daemon


def completed(daemon: Daemon, line: str, program: str = "mozart") -> list[str]:
    """What bash is offered for the last word of `line`."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), f"_{program.upper()}_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [str(daemon.scripts / program)],
        env={**daemon.environment, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=daemon.home,
    )
    assert not done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mozart list --state ", {"queued", "running", "paused", "completed", "failed", "cancelled"}),
        ("mozart logs hello --stream ", {"stdout", "stderr"}),
        ("mozart hold cl", {"claude_cli"}),
        ("mozart backends ", {"list", "check", "show"}),
        ("mozart backends show cla", {"claude_cli"}),
        ("mozart limits ", {"clear"}),
        ("mozart priority hello-1 hi", {"high", "highest"}),
        ("mozart run sco", {"scores/"}),
        ("mozart run scores/", {"scores/nightly.yaml"}),
        ("mozart completion ", {"bash", "zsh", "fish"}),
        ("mozartd st", {"start", "stop", "status"}),
    ],
)
def test_D13_a_shell_completes_every_closed_set(shared_daemon: Daemon, line: str, offered: set[str]) -> None:
    folder = shared_daemon.home / "scores"
    folder.mkdir(exist_ok=True)
    (folder / "nightly.yaml").touch()
    assert set(completed(shared_daemon, line, line.split(" ")[0])) == offered


def test_D13_one_script_teaches_a_shell_both_programs(shared_daemon: Daemon) -> None:
    done = shared_daemon.mozart("completion", "bash")
    for program in ("mozart", "mozartd"):
        assert f"_completion {program}\n" in done.stdout


def test_D13_a_hold_on_a_backend_that_nobody_knows_is_doubted(calm_daemon: Daemon) -> None:
    done = calm_daemon.mozart("hold", "claud_cli", "--for", "1s")
    assert done.returncode == 0
    assert "there is no backend 'claud_cli'" in done.stderr
    assert "did you mean 'claude_cli'?" in done.stderr
    assert not calm_daemon.mozart("hold", "claude_cli", "--for", "1s").stderr


def test_D13_a_priority_may_be_a_word_in_a_score_too(shared_daemon: Daemon, score: Callable[..., Path]) -> None:
    ran = shared_daemon.mozart("run", str(score("say one", priority="high")), "--json")
    job = json.loads(ran.stdout.splitlines()[-1])["job"]
    assert json.loads(shared_daemon.mozart("status", job, "--json").stdout)["job"]["priority"] == 40
    refused = shared_daemon.mozart("validate", str(score("say one", priority="urgent")))
    assert refused.returncode == 1
    assert "priority" in refused.stdout + refused.stderr
