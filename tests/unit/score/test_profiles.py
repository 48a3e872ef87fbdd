"""Where a profile is found, and that it travels with the score: beside it, in the configuration, shipped, or inline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

import backends
from backends.profile import ProfileBackend
from ipc.score.checks.backends import PROGRAMS
from ipc.score.load import LoadedScore
from ipc.score.problems import ScoreError
from ipc.score.schema import SHIPPED_PROFILES, Score

Load = Callable[..., LoadedScore]
SHEET = {"size": 1, "total_items": 2}


def put(directory: Path, name: str, text: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.yaml").write_text(text)


@pytest.fixture
def user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the user's own profiles."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MOZART_HOME", str(home))
    return home / "backends"


def test_the_shipped_ones_are_known_by_name() -> None:
    assert backends.shipped() == SHIPPED_PROFILES
    for name in SHIPPED_PROFILES:
        found = backends.load(name)
        assert isinstance(found, ProfileBackend)
        assert PROGRAMS[name] == found.profile.command.argv[0]


def test_the_nearest_file_wins(load: Load, user: Path, tmp_path: Path) -> None:
    put(user, "mine", "command: {argv: [of-user]}")
    put(user, "aider", "command: {argv: [other-aider]}")
    assert argv(load(backend={"type": "mine"}).score) == ["of-user"]
    assert argv(load(backend={"type": "aider"}).score) == ["other-aider"], "a file hides a shipped one"
    put(tmp_path / ".mozart" / "backends", "mine", "command: {argv: [of-project]}")
    assert argv(load(backend={"type": "mine"}).score) == ["of-project"]
    assert argv(load(backend={"type": "mine", "profile": {"command": {"argv": ["here"]}}}).score) == ["here"]


def argv(score: Score) -> Any:
    assert score.backend.profile is not None
    return score.backend.profile["command"]["argv"]


def test_it_survives_the_journey(load: Load, user: Path) -> None:
    """Exit codes are numbers, and JSON has no such keys."""
    put(user, "mine", "command: {argv: [mine]}\nexits: {2: configuration}")
    arrived = Score.model_validate(orjson.loads(load(backend={"type": "mine"}).score.model_dump_json()))
    sent = orjson.loads(orjson.dumps(arrived.model_dump(mode="json")))["backend"]["profile"]
    found = backends.load("mine", sent)
    assert isinstance(found, ProfileBackend)
    assert found.profile.exits == {2: "configuration"}


def test_a_profile_belongs_to_its_type(load: Load, user: Path) -> None:
    put(user, "mine", "command: {argv: [mine]}")
    put(user, "other", "command: {argv: [other]}")
    fallbacks = [{"type": "other"}, {"cli_model": "small"}, {"type": "codex_cli"}]
    sheet = {**SHEET, "backends": {2: {"type": "claude_cli"}}}
    score = load(backend={"type": "mine", "fallbacks": fallbacks}, sheet=sheet).score
    score = Score.model_validate(orjson.loads(score.model_dump_json()))
    found = [(each.type, (each.profile or {}).get("command")) for each in score.choices_for(1)]
    mine, other = {"argv": ["mine"]}, {"argv": ["other"]}
    assert found == [("mine", mine), ("other", other), ("mine", mine), ("codex_cli", None)]
    assert (score.backend_for(2).type, score.backend_for(2).profile) == ("claude_cli", None)


@pytest.mark.parametrize(
    ("name", "hint"), [("claud_cli", "'claude_cli'"), ("codx_cli", "'codex_cli'"), ("mein", "'mine'")]
)
def test_a_name_without_a_profile_is_an_error(load: Load, user: Path, name: str, hint: str) -> None:
    put(user, "mine", "command: {argv: [mine]}")
    with pytest.raises(ScoreError) as raised:
        load(backend={"type": name})
    (problem,) = raised.value.problems
    assert (problem.code, problem.field) == ("E301", "backend.type")
    assert hint in problem.hint


def test_a_profile_that_is_no_yaml_says_where(load: Load, user: Path) -> None:
    put(user, "mine", "command: [")
    with pytest.raises(ScoreError) as raised:
        load(backend={"type": "mine"})
    assert raised.value.problems[0].file == str(user / "mine.yaml")


def test_a_fallback_of_type_command_needs_one(load: Load) -> None:
    with pytest.raises(ScoreError, match="needs a command"):
        load(backend={"type": "codex_cli", "fallbacks": [{"type": "command"}]})
    with pytest.raises(ScoreError, match="needs a command"):
        load(sheet={**SHEET, "backends": {1: {"type": "codex_cli", "fallbacks": [{"type": "command"}]}}}, backend={})
