"""Which sheets share limits: the scope of a score's backend."""

from __future__ import annotations

from typing import Any

import pytest

from ipc.score.schema import Score
from mozartd.coordinator.scopes import choices_by_sheet


def scope(**backend: Any) -> str:
    score = Score.model_validate(
        {"name": "s", "backend": backend, "sheet": {"size": 1, "total_items": 1}, "prompt": {}}
    )
    return choices_by_sheet(score)[0][0].scope


def test_a_cli_is_told_apart_by_its_model_and_key() -> None:
    assert scope(type="claude_cli") == "claude_cli/default/default"
    assert scope(type="claude_cli", cli_model="opus") == "claude_cli/default/opus"
    assert scope(type="claude_cli", env={"ANTHROPIC_API_KEY": "a"}) != scope(type="claude_cli")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "anthropic_api", "model": "a"}, {"type": "anthropic_api", "model": "b"}),
        ({"type": "anthropic_api", "api_key_env": "A"}, {"type": "anthropic_api"}),
        ({"type": "ollama", "ollama": {"model": "a"}}, {"type": "ollama"}),
        ({"type": "ollama", "ollama": {"base_url": "http://127.0.0.1:1"}}, {"type": "ollama"}),
        (
            {"type": "recursive_light", "recursive_light": {"endpoint": "http://127.0.0.1:1"}},
            {"type": "recursive_light"},
        ),
    ],
)
def test_an_api_is_told_apart_by_its_model_key_and_address(one: Any, other: Any) -> None:
    assert scope(**one) != scope(**other)
    assert scope(**one) == scope(**one)


def test_an_apis_scope_says_its_model() -> None:
    assert scope(type="anthropic_api", model="m") == "anthropic_api/default/m"
