"""Items into sheets, stages into instances, edges, waves, cycles."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.score.expand import MAX_SHEETS, expand, find_cycle, stage_members, topological_order, total_sheets, waves
from ipc.score.load import LoadedScore
from ipc.score.problems import Problem
from ipc.score.schema import Score

Load = Callable[..., LoadedScore]
Refused = Callable[..., list[Problem]]


def score_of(**sheet: Any) -> Score:
    return Score.model_validate({"name": "song", "prompt": {}, "sheet": sheet})


def edges(score: Score) -> dict[int, list[int]]:
    return {sheet.n: list(sheet.dependencies) for sheet in expand(score) if sheet.dependencies}


@given(st.integers(1, 50), st.integers(1, 300), st.data())
def test_items_are_covered_once_and_in_order(size: int, total: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(1, total))
    sheets = expand(score_of(size=size, total_items=total, start_item=start))
    assert [item for s in sheets for item in range(s.start_item, s.end_item + 1)] == list(range(start, total + 1))
    assert [s.n for s in sheets] == list(range(1, -(-(total - start + 1) // size) + 1))
    assert all((s.stage, s.instance, s.fan_count) == (s.n, 1, 1) for s in sheets)


@st.composite
def fanned(draw: st.DrawFn) -> dict[str, Any]:
    """A sheet section whose stages depend on earlier stages alone, so that it has no cycle; keys in any order."""
    total = draw(st.integers(1, 8))
    before = {stage: draw(st.lists(st.integers(1, stage - 1), max_size=4)) for stage in range(2, total + 1)}
    order = draw(st.permutations(list(before)))
    counts = draw(st.dictionaries(st.integers(1, total), st.integers(1, 5), max_size=total))
    return {"size": 1, "total_items": total, "dependencies": {s: before[s] for s in order}, "fan_out": counts}


@given(fanned())
def test_every_edge_follows_from_its_stages(sheet: dict[str, Any]) -> None:
    score = score_of(**sheet)
    sheets = expand(score)
    by_number = {s.n: s for s in sheets}
    counts = {stage: sheet["fan_out"].get(stage, 1) for stage in range(1, sheet["total_items"] + 1)}
    assert len(sheets) == sum(counts.values()) == total_sheets(score.sheet)
    assert [s.n for s in sheets] == list(range(1, len(sheets) + 1))
    assert all(a.stage <= b.stage for a, b in pairwise(sheets))
    for s in sheets:
        sources = [by_number[n] for n in s.dependencies]
        assert {source.stage for source in sources} == set(sheet["dependencies"].get(s.stage, []))
        for stage in {source.stage for source in sources}:
            instances = [source.instance for source in sources if source.stage == stage]
            whole = list(range(1, counts[stage] + 1))
            assert instances == ([s.instance] if counts[stage] == s.fan_count else whole)


@given(fanned())
def test_what_has_no_cycle_stays_without(sheet: dict[str, Any]) -> None:
    sheets = expand(score_of(**sheet))
    dependencies = {s.n: s.dependencies for s in sheets}
    assert find_cycle(dependencies) == []
    assert sorted(topological_order(dependencies)) == [s.n for s in sheets]
    wave_of = {n: i for i, wave in enumerate(waves(sheets)) for n in wave}
    assert len(wave_of) == len(sheets)
    for s in sheets:
        assert wave_of[s.n] == max((wave_of[n] + 1 for n in s.dependencies), default=0)


@given(st.dictionaries(st.integers(1, 12), st.lists(st.integers(1, 12), max_size=3), max_size=12))
def test_a_cycle_is_found_exactly_when_there_is_one(graph: dict[int, list[int]]) -> None:
    nodes = {*graph, *(n for before in graph.values() for n in before)}
    whole = {n: graph.get(n, []) for n in nodes}
    cycle = find_cycle(graph)
    assert bool(cycle) is (len(list(topological_order(whole))) < len(nodes))
    if cycle:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert all(after in graph[before] for before, after in pairwise(cycle))


def test_the_example_of_the_page() -> None:
    score = score_of(size=1, total_items=4, fan_out={2: 3, 3: 3}, dependencies={2: [1], 3: [2], 4: [3]})
    assert edges(score) == {2: [1], 3: [1], 4: [1], 5: [2], 6: [3], 7: [4], 8: [5, 6, 7]}


def test_wide_on_wider_waits_for_all() -> None:
    score = score_of(size=1, total_items=2, fan_out={1: 2, 2: 3}, dependencies={2: [1]})
    assert edges(score) == {3: [1, 2], 4: [1, 2], 5: [1, 2]}


def test_stages_depend_on_paired_and_joined_stages_at_once() -> None:
    score = score_of(size=1, total_items=3, fan_out={2: 2, 3: 2}, dependencies={3: [2, 1], 2: [1, 1]})
    assert edges(score) == {2: [1], 3: [1], 4: [1, 2], 5: [1, 3]}


def test_an_expanded_score_is_taken_back() -> None:
    places = {"1": {"stage": 1}, "2": {"stage": 2, "fan_count": 2}, "3": {"stage": 2, "instance": 2, "fan_count": 2}}
    score = score_of(size=1, total_items=3, dependencies={2: [1], 3: [1]}, fan_out_stage_map=places)
    assert [(s.stage, s.instance, s.fan_count) for s in expand(score)] == [(1, 1, 1), (2, 1, 2), (2, 2, 2)]


def test_stages_walk_upward() -> None:
    assert stage_members(3, {2: 2}) == {1: range(1, 2), 2: range(2, 4), 3: range(4, 5)}


#: What is wrong → (sheet section, code, field, words).
FAULTS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "no items": ({"total_items": 0}, "E301", "sheet.total_items", "at least one sheet"),
    "a start beyond": ({"total_items": 3, "start_item": 4}, "E301", "sheet.start_item", "0 sheets"),
    "too many": ({"total_items": MAX_SHEETS + 1}, "E301", "sheet.total_items", "100,001 sheets, at most 100,000"),
    "too many instances": ({"total_items": 2, "fan_out": {1: MAX_SHEETS}}, "E301", "sheet.fan_out", "at most 100,000"),
    "fan-out of groups": ({"size": 2, "total_items": 3, "fan_out": {1: 2}}, "E301", "sheet.fan_out", "size 1"),
    "a dependency beyond": ({"dependencies": {2: [1, 4]}}, "V110", "sheet.dependencies[2][1]", "sheet 4, which does not"),
    "a dependent beyond": ({"dependencies": {4: [1]}}, "V110", "sheet.dependencies[4]", "sheet 4 does not exist"),
    "a stage beyond": ({"fan_out": {1: 2}, "dependencies": {4: [1]}}, "V110", "sheet.dependencies[4]", "stages are 1 to 3"),
    "fan-out beyond": ({"fan_out": {4: 2}}, "V110", "sheet.fan_out[4]", "stages are 1 to 3"),
    "itself": ({"dependencies": {2: [2]}}, "V111", "sheet.dependencies[2][0]", "on itself"),
    "a cycle": ({"dependencies": {1: [3], 2: [1], 3: [2]}}, "V111", "sheet.dependencies[1]", "1 → 3 → 2 → 1"),
    "a cycle of stages": ({"fan_out": {2: 2}, "dependencies": {1: [2], 2: [1]}}, "V111", "sheet.dependencies[1]", "1 → 2 → 1"),
    "half a map": ({"fan_out_stage_map": {1: {"stage": 1}}}, "V110", "sheet.fan_out_stage_map", "each of the 3 sheets"),
    "both": ({"fan_out": {1: 2}, "fan_out_stage_map": {1: {"stage": 1}}}, "E301", "sheet.fan_out_stage_map", "not both"),
    "too many edges": (
        {"fan_out": {1: 2000, 2: 2001}, "dependencies": {2: [1]}}, "E301", "sheet.dependencies", "4,002,000 dependencies",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_what_cannot_be_expanded_is_refused(refused: Refused, what: str) -> None:
    sheet, code, field, words = FAULTS[what]
    (problem,) = refused(sheet={"size": 1, "total_items": 3, **sheet})
    assert (problem.code, problem.field) == (code, field)
    assert words in str(problem)
    assert problem.line is not None
    assert problem.line > 4


def test_every_wrong_dependency_is_told(refused: Refused) -> None:
    problems = refused(sheet={"size": 1, "total_items": 3, "dependencies": {2: [9], 3: [3], 7: [1]}})
    assert [problem.code for problem in problems] == ["V110", "V111", "V110"]


def test_a_long_cycle_is_shown_by_its_ends(refused: Refused) -> None:
    chain = {n: [n - 1] for n in range(2, 10_001)} | {1: [10_000]}
    (problem,) = refused(sheet={"size": 1, "total_items": 10_000, "dependencies": chain})
    assert "1 → 10000 → 9999" in problem.message
    assert "more" in problem.message
    assert len(problem.message) < 300


def test_a_chain_of_10000_and_100000_sheets(load: Load) -> None:
    """Iterative, and linear: processor time, because the machine may be busy."""
    started = time.process_time()
    chain = load(sheet={"size": 1, "total_items": 10_000, "dependencies": {n: [n - 1] for n in range(2, 10_001)}})
    assert len(waves(expand(chain.score))) == 10_000
    assert len(expand(load(sheet={"size": 1, "total_items": MAX_SHEETS}).score)) == MAX_SHEETS
    assert time.process_time() - started < 15
