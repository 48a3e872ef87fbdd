"""How complex a prompt is, and which sheets `bridge:` sends to Claude."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.score.load import LoadedScore
from ipc.score.plan import plan
from ipc.score.routing import Facts, complexity, fallbacks, leaves_when_it_fails, measure, route, routes

Load = Callable[..., LoadedScore]

SIMPLE = "Write the word hello to hello.txt."
COMPLEX = """Refactor the storage layer and design its migration; debug the race condition first.
- read store.py, writer.py and schema.sql
- analyse why test_store.py deadlocks
1. write the migration
2. optimise the queries
3. update README.md and CHANGELOG.md
"""
SHARES = st.floats(0, 3)


@given(st.builds(Facts, SHARES, SHARES, SHARES, SHARES, SHARES), st.integers(0, 4), st.floats(0, 1))
def test_it_is_between_0_and_1_and_rises_with_every_fact(facts: Facts, i: int, more: float) -> None:
    found = complexity(facts)
    assert 0 <= found <= 1
    assert complexity(Facts(*(each + more * (j == i) for j, each in enumerate(facts)))) >= found


def test_what_does_not_fit_is_complex() -> None:
    assert complexity(measure("word " * 1000, 0, 1000)) == 1.0
    assert "does not fit" in route(measure("word " * 1000, 0, 1000), 0.7).reason


def test_simple_and_complex_prompts_are_far_apart() -> None:
    simple, hard = (complexity(measure(text, 1, 24_000)) for text in (SIMPLE, COMPLEX))
    assert simple < 0.15
    assert hard > 0.7


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_above_means_above(threshold: float) -> None:
    facts = Facts(0, 0, 0, 0, threshold / 0.6)
    assert not route(facts, complexity(facts)).to_claude
    assert route(facts, math.nextafter(complexity(facts), -1)).to_claude
    assert f"threshold {threshold:g}" in route(facts, threshold).reason


# ---- a score's sheets -----------------------------------------------------------------------------------------------

OLLAMA: dict[str, Any] = {"type": "ollama"}
BRIDGE = {"enabled": True, "hybrid_routing_enabled": True}
TEMPLATE = f"{{% if sheet_num == 2 %}}{COMPLEX}{{% else %}}{SIMPLE}{{% endif %}}"
THREE = {"size": 1, "total_items": 3}


def chosen(loaded: LoadedScore) -> dict[int, bool]:
    return {n: found.to_claude for n, found in routes(loaded.score, loaded.sheets, loaded.directory)}


def test_each_sheet_goes_by_its_own_prompt(load: Load) -> None:
    loaded = load(backend=OLLAMA, bridge=BRIDGE, sheet=THREE, prompt={"template": TEMPLATE})
    assert chosen(loaded) == {1: False, 2: True, 3: False}
    assert [sheet["backend"] for sheet in plan(loaded, [])["sheets"]] == ["ollama", "claude_cli", "ollama"]


def test_only_ollamas_sheets_are_measured(load: Load) -> None:
    sheet = {**THREE, "backends": {2: {"type": "codex_cli"}}}
    assert chosen(load(backend=OLLAMA, bridge=BRIDGE, sheet=sheet)) == {1: False, 3: False}
    assert chosen(load(backend={"type": "codex_cli"}, bridge=BRIDGE, sheet=THREE)) == {}
    assert chosen(load(backend=OLLAMA, bridge={"enabled": True}, sheet=THREE)) == {}
    assert chosen(load(backend=OLLAMA, bridge={**BRIDGE, "enabled": False}, sheet=THREE)) == {}


def test_a_prompt_that_cannot_be_made_yet_counts_as_written(load: Load) -> None:
    prompt = {"template": "{{ previous_outputs[1] }}\n" + COMPLEX}
    sheet = {**THREE, "dependencies": {2: [1], 3: [1]}}
    cross = {"auto_capture_stdout": True}
    assert all(chosen(load(backend=OLLAMA, bridge=BRIDGE, sheet=sheet, prompt=prompt, cross_sheet=cross)).values())


@pytest.mark.parametrize(
    ("bridge", "given", "found"),
    [
        (None, [], []),
        ({"enabled": False}, [], []),
        ({"hybrid_routing_enabled": False, "fallback_to_claude": False}, [], []),
        ({}, [], [("claude_cli", 0.0)]),
        ({"fallback_to_claude": False}, [], [("claude_cli", math.inf)]),
        ({}, [{"type": "codex_cli"}], [("codex_cli", None), ("claude_cli", 0.0)]),
        ({}, [{"type": "anthropic_api"}, {"type": "codex_cli"}], [("anthropic_api", None), ("codex_cli", None)]),
    ],
    ids=str,
)
def test_claude_is_a_fallback_unless_it_is_one_already(bridge: Any, given: list[Any], found: list[Any]) -> None:
    section = {"type": "ollama", "fallbacks": given}
    known = bridge if bridge is None else {**BRIDGE, "fallback_to_claude": True, **bridge}
    assert [(each["type"], each.get("max_wait")) for each in fallbacks(section, known)] == found
    assert fallbacks({**section, "type": "codex_cli"}, known) == given
    wanted = known is not None and known["enabled"] and known["fallback_to_claude"]
    assert leaves_when_it_fails(section, known) == wanted
