"""Help, and the sentence that a mistake is answered with; none of it needs a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import run
from cli.verbs import VERBS


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a verb ask after all, it finds nobody."""
    monkeypatch.setenv("MOZART_HOME", str(tmp_path))


@pytest.mark.parametrize("verb", VERBS)
def test_help_ends_with_an_example(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"mozart {verb}" in capfd.readouterr().out.split("Example", 1)[1]


def test_help_names_every_verb(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capfd.readouterr().out
    assert all(f"\n  {verb} " in shown for verb in VERBS)
    assert "..." not in shown.split("Commands:")[1].split("Example")[0]


def test_the_version_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capfd.readouterr().out.startswith("mozart ")


@pytest.mark.parametrize(
    "line",
    [
        ["stauts"],
        ["status", "--nope"],
        ["logs"],
        ["events", "x", "y"],
        ["logs", "x", "--since", "yesterday"],
        ["logs", "x", "--tail", "-1"],
        ["logs", "x", "--raw", "--timestamps"],
        ["list", "--state", "asleep"],
        ["retry", "x", "--sheet", "1", "--from", "2"],
        ["run", "x.yaml", "--var", "novalue"],
        ["completion", "tcsh"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2(line: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("mozart: cannot ")
    assert "\nhint: " in said.err


def test_a_mistake_is_a_document_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "usage"


def test_the_nearest_verb_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    run(["stauts"])
    assert "did you mean `mozart status`?" in capfd.readouterr().err


def test_nothing_at_all_is_answered_with_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert capfd.readouterr().err.startswith("Usage: ")
