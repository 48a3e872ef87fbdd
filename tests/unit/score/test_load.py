"""A score's file becomes a score: fields, paths, overrides; and each mistake a sentence with its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ipc.errors import MozartError
from ipc.score.load import LoadedScore, load_score, read_score
from ipc.score.problems import Problem, ScoreError
from ipc.score.schema import Score
from tests.unit.score.conftest import Write

Load = Callable[..., LoadedScore]
Refused = Callable[..., list[Problem]]

SHEET = {"size": 1, "total_items": 3}
REGEX_RULE = {"type": "content_regex", "path": "a", "pattern": "b"}

#: What is wrong → (fields, code, field, words of the sentence or hint).
MISTAKES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "an unknown key": ({"backned": {}}, "V108", "backned", "did you mean 'backend'?"),
    "an unknown key inside": ({"retry": {"max_retry": 1}}, "V108", "retry.max_retry", "did you mean 'max_retries'?"),
    "an unknown key like none": ({"parallel": {"qqq": 1}}, "V108", "parallel.qqq", "known here: budget_partition, enabled"),
    "an unknown key in a list": (
        {"validations": [{**REGEX_RULE, "pth": 1}]}, "V108", "validations[0].pth", "did you mean 'path'?",
    ),
    "an unknown key in an override": (
        {"sheet": {**SHEET, "backends": {2: {"tpye": "x"}}}}, "V108", "sheet.backends[2].tpye", "did you mean 'type'?",
    ),
    "no name": ({"name": None}, "E302", "name", "missing required field `name`"),
    "no sheet": ({"sheet": None}, "E302", "sheet", "sheet: {size: 1, total_items: 1}"),
    "no prompt": ({"prompt": None}, "E302", "prompt", "prompt: {}"),
    "no size": ({"sheet": {"total_items": 1}}, "E302", "sheet.size", "missing required field `sheet.size`"),
    "an empty name": ({"name": ""}, "E301", "name", "must not be empty"),
    "a blank name": ({"name": "  "}, "E301", "name", "must not be empty"),
    "a name of two lines": ({"name": "a\nb"}, "E301", "name", "one line"),
    "a name with an escape": ({"name": "a\x1b[31m"}, "E301", "name", "not allowed"),
    "a name too long": ({"name": "x" * 201}, "E301", "name", "no longer than 200"),
    "a number for text": ({"description": 5}, "E301", "description", 'quote it: "5"'),
    "text for a number": ({"retry": {"max_retries": "many"}}, "E301", "retry.max_retries", "a whole number, found 'many'"),
    "half a number": ({"retry": {"max_retries": 1.5}}, "E301", "retry.max_retries", "a whole number, found 1.5"),
    "true for a number": ({"retry": {"max_retries": True}}, "E301", "retry.max_retries", "a number, found true"),
    "a list for a map": ({"retry": [1]}, "E301", "retry", "must be a map, found [1]"),
    "a map for a list": ({"validations": {"a": 1}}, "E301", "validations", "must be a list"),
    "too few": ({"retry": {"max_retries": -1}}, "E301", "retry.max_retries", "at least 0, found -1"),
    "too many": ({"parallel": {"max_concurrent": 1001}}, "E301", "parallel.max_concurrent", "at most 1000, found 1001"),
    "not above": ({"backend": {"timeout_seconds": 0}}, "E301", "backend.timeout_seconds", "above 0, found 0"),
    "no such choice": (
        {"backend": {"output_format": "jsn"}}, "E301", "backend.output_format", "'json', 'text' or 'stream-json', found 'jsn'",
    ),
    "a near choice": ({"backend": {"output_format": "jsn"}}, "E301", "backend.output_format", "did you mean 'json'?"),
    "priority": ({"priority": 101}, "E301", "priority", "at most 100"),
    "delays the wrong way": (
        {"retry": {"base_delay_seconds": 9, "max_delay_seconds": 8}}, "E301", "retry.base_delay_seconds", "above max_delay",
    ),
    "no command": ({"backend": {"type": "command"}}, "E302", "backend.command", "[program, argument]"),
    "no command in an override": (
        {"backend": {}, "sheet": {**SHEET, "backends": {2: {"type": "command"}}}}, "E302",
        "sheet.backends[2]", "needs a command",
    ),
    "a number for a command": ({"backend": {"type": "command", "command": 5}}, "E301", "backend.command", "text or a list"),
    "a number in a command": (
        {"backend": {"type": "command", "command": ["sleep", 5]}}, "E301", "backend.command", "quote 5",
    ),
    "a number for a key": ({"retry": {1: 2}}, "V108", "retry[1]", "known here: base_delay_seconds"),
    "a key as number and text": (
        {"sheet": {**SHEET, "dependencies": {2: [1], "2": [1]}}}, "E301", "sheet.dependencies", "names 2 twice",
    ),
    "a key that is no number": (
        {"sheet": {**SHEET, "dependencies": {"a": [1]}}}, "E301", "sheet.dependencies.a", "a whole number, found 'a'",
    ),
    "a rule without a path": ({"validations": [{"type": "file_exists"}]}, "V008", "validations[0]", "needs `path`"),
    "a rule without a command": ({"validations": [{"type": "command_succeeds"}]}, "V008", "validations[0]", "needs `command`"),
    "a bad regex": ({"validations": [{**REGEX_RULE, "pattern": "("}]}, "V007", "validations[0].pattern", "missing )"),
    "a bad pattern": ({"rate_limit": {"detection_patterns": ["a", "["]}}, "V007", "rate_limit.detection_patterns[1]", "'['"),
    "a bad condition": ({"validations": [{**REGEX_RULE, "condition": "stage ="}]}, "V112", "validations[0].condition", "parse"),
    "an unknown name": (
        {"validations": [{**REGEX_RULE, "condition": "sheet_nun > 1"}]}, "V112", "validations[0].condition", "'sheet_num'?",
    ),
    "an unknown name in skip_when": (
        {"sheet": {**SHEET, "skip_when": {2: "stage == 1"}}}, "V112", "sheet.skip_when[2]", "known are job, sheets",
    ),
    "an unknown field of a sheet": (
        {"sheet": {**SHEET, "skip_when": {2: "sheets[1].statu"}}}, "V112", "sheet.skip_when[2]", "status, attempts",
    ),
    "two templates": ({"prompt": {"template": "a", "template_file": "/dev/null"}}, "E301", "prompt.template_file", "not both"),
    "a template that is not there": ({"prompt": {"template_file": "a.md"}}, "V003", "prompt.template_file", "does not exist"),
    "a template that is a directory": ({"prompt": {"template_file": "."}}, "V003", "prompt.template_file", "a directory"),
    "a system prompt that is not there": (
        {"backend": {"system_prompt_file": "a.md"}}, "V004", "backend.system_prompt_file", "does not exist",
    ),
    "a system prompt of one sheet": (
        {"sheet": {**SHEET, "backends": {2: {"system_prompt_file": "a.md"}}}}, "V004",
        "sheet.backends[2].system_prompt_file", "does not exist",
    ),
    "limits without one": ({"cost_limits": {"enabled": True}}, "E302", "cost_limits.enabled", "set max_cost_per_job"),
    "a budget upside down": (
        {"learning": {"exploration_budget": {"floor": 0.3}}}, "E301", "learning.exploration_budget.initial_budget", "floor 0.3",
    ),
    "a trigger for nothing": (
        {"checkpoints": {"triggers": [{"name": "a"}]}}, "E302", "checkpoints.triggers[0]", "at least one of",
    ),
    "scores upside down": ({"ai_review": {"min_score": 90}}, "E301", "ai_review.min_score", "above target_score 80"),
    "both without a file": ({"logging": {"format": "both"}}, "E302", "logging.format", "needs logging.file_path"),
    "a hook without a target": ({"on_success": [{"type": "run_job"}]}, "E302", "on_success[0].job_path", "needs `job_path`"),
    "a branch prefix": ({"isolation": {"branch_prefix": "1/x"}}, "E301", "isolation.branch_prefix", "must match"),
    "a protected variable": (
        {"bridge": {"mcp_servers": [{"name": "a", "command": "b", "env": {"path": "c"}}]}}, "E301",
        "bridge.mcp_servers[0].env.path", "may not set path",
    ),
    "an event like one": (
        {"notifications": [{"type": "desktop", "on_events": ["job_complet"]}]}, "E301", "notifications[0].on_events[0]",
        "did you mean 'job_complete'?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_named_with_its_place(refused: Refused, what: str) -> None:
    fields, code, field, words = MISTAKES[what]
    problem = refused(**fields)[0]
    assert (problem.code, problem.field) == (code, field), str(problem)
    assert words in str(problem), str(problem)
    assert problem.line is not None
    assert problem.severity == "error"


def test_every_mistake_is_told_at_once(refused: Refused) -> None:
    problems = refused("name: song\nsheet: {size: 0, total_items: 3}\nprompt: {}\npriority: 200\nbackned: {}\n")
    assert [(p.line, p.column, p.field) for p in problems] == [
        (2, 9, "sheet.size"),
        (4, 1, "priority"),
        (5, 1, "backned"),
    ]


def test_the_error_reads_well(write: Write) -> None:
    path = write(backned={})
    with pytest.raises(ScoreError) as caught:
        load_score(str(path))
    first, second, third = str(caught.value).splitlines()
    assert first == f"cannot use the score {path}"
    assert second.startswith(f"{path}:")
    assert second.endswith(": V108 error: unknown key 'backned'")
    assert third == "  hint: did you mean 'backend'?"
    assert not caught.value.unreadable


def test_lenient_makes_unknown_keys_warnings(write: Write) -> None:
    path = write(backned={}, parallel={"enabled": True, "max_concurent": 2}, retry={"max_retries": 1})
    loaded = load_score(str(path), lenient=True)
    assert [(p.code, p.severity, p.field) for p in loaded.problems] == [
        ("V108", "warning", "backned"),
        ("V108", "warning", "parallel.max_concurent"),
    ]
    assert loaded.score.parallel.enabled
    with pytest.raises(ScoreError, match="must be a map"):
        load_score(str(write(backned={}, retry=3)), lenient=True)


def test_read_score_tells_what_load_score_refuses(write: Write) -> None:
    loaded = read_score(str(write(prompt={"template_file": "a.md"})))
    assert [problem.code for problem in loaded.problems] == ["V003"]


# ---- what is in a loaded score --------------------------------------------------------------------------------------


def test_defaults(load: Load) -> None:
    score = load(backend=None, validations=None, prompt={}).score
    assert (score.backend.type, score.backend.timeout_seconds, score.backend.output_format) == (
        "claude_cli",
        1800,
        "stream-json",
    )
    assert (score.retry.max_retries, score.retry.base_delay_seconds, score.pause_between_sheets_seconds) == (3, 10, 10)
    assert (score.parallel.enabled, score.parallel.max_concurrent, score.cross_sheet) == (False, 3, None)
    assert (score.rate_limit.wait_minutes, score.rate_limit.max_waits, score.priority) == (60, 24, 0)


def test_paths_start_at_the_score(write: Write, tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.md").write_text("be kind")
    path = write(
        backend={"system_prompt_file": "a.md", "working_directory": "../there"},
        prompt={"template_file": "./a.md"},
        sheet={**SHEET, "backends": {2: {"working_directory": "~/x"}}},
        on_success=[{"type": "run_job", "job_path": "next.yaml", "working_directory": "{workspace}/a"}],
    )
    score = load_score(os.path.relpath(path)).score
    assert score.workspace == f"{tmp_path}/workspace"
    assert score.backend.system_prompt_file == f"{tmp_path}/a.md"
    assert score.backend.working_directory == f"{tmp_path.parent}/there"
    assert score.sheet.backends[2].working_directory == f"{home}/x"
    assert score.on_success[0].job_path == f"{tmp_path}/next.yaml"
    assert score.on_success[0].working_directory == "{workspace}/a"
    assert (score.prompt.template, score.prompt.template_file) == ("be kind", f"{tmp_path}/a.md")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_path_of_a_loaded_score_is_absolute(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    monkeypatch.chdir(path.parent)
    loaded = load_score("song.yaml")
    assert (loaded.path, loaded.directory) == (str(path), str(path.parent))
    assert loaded.source == path.read_text()


@pytest.mark.parametrize("name", ["a/b/../../etc", "🎻 Quartett", "..", "-rf", "  spaces  ", "x" * 200])
def test_odd_names_are_names(load: Load, name: str) -> None:
    assert load(name=name).score.name == name


def test_numbers_in_environments_become_text(load: Load) -> None:
    assert load(backend={"env": {"PORT": 80, "DEBUG": True, "RATE": 0.5}}).score.backend.env == {
        "PORT": "80", "DEBUG": "true", "RATE": "0.5",
    }  # fmt: skip


def test_a_score_survives_json(load: Load) -> None:
    loaded = load(
        prompt={"template": "x", "variables": {"domains": {1: "a", 2: {3: ["b", {4: 5}]}}, "plain": {"a": None}}},
        sheet={**SHEET, "backends": {"2": {"cli_model": "m", "timeout_seconds": 5}}, "dependencies": {"2": [1]}},
        learning={"enabled": True},
        notifications=[{"type": "slack", "config": {"a": {1: 2}}}],
    )
    dumped = orjson.loads(orjson.dumps(loaded.score.model_dump(mode="json")))
    again = Score.model_validate(dumped)
    assert again == loaded.score
    assert again.prompt.variables["domains"] == {1: "a", 2: {3: ["b", {4: 5}]}}
    assert again.sheet.backends[2].model_fields_set == {"cli_model", "timeout_seconds"}
    assert Score.model_validate_json(loaded.score.model_dump_json()) == loaded.score
    assert again.logging is None


def test_a_sheets_backend_lies_over_the_scores(load: Load) -> None:
    score = load(
        backend={"type": "command", "command": ["a"], "timeout_seconds": 9, "timeout_overrides": {3: 7}},
        sheet={**SHEET, "backends": {2: {"type": "claude_cli", "timeout_seconds": 5}}},
    ).score
    assert [score.backend_for(n).type for n in (1, 2)] == ["command", "claude_cli"]
    assert [score.timeout_for(n) for n in (1, 2, 3)] == [9, 5, 7]
    assert score.backend_for(1) is score.backend


# ---- what the command line sets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", "3"),
        ("yes", "yes"),
        ("main", "main"),
        ("", ""),
        ("[1, 2]", "[1, 2]"),
        ("a: b", "a: b"),
        ("{{", "{{"),
        ("'3'", "'3'"),
    ],
)
def test_variables_are_text(write: Write, text: str, value: str) -> None:
    assert load_score(str(write()), variables={"v": text}).score.prompt.variables["v"] == value


def test_variables_lie_over_the_scores_own(write: Write) -> None:
    path = write(prompt={"template": "x", "variables": {"a": 1, "b": 2}})
    assert load_score(str(path), variables={"b": "3", "c": "4"}).score.prompt.variables == {"a": 1, "b": 3, "c": "4"}


def test_sets_lie_over_any_field(write: Write) -> None:
    path = write(
        retry={"max_retries": 1}, validations=[REGEX_RULE, REGEX_RULE], sheet={**SHEET, "dependencies": {2: [1]}}
    )
    sets = {
        "retry.max_retries": "7",
        "parallel.enabled": "true",
        "backend.command": "[echo, hi]",
        "validations.1.pattern": "new",
        "sheet.dependencies.2": "[]",
        "sheet.dependencies.3": "[1, 2]",
        "description": "'5'",
        "cross_sheet": "~",
    }
    score = load_score(str(path), sets=sets).score
    assert (score.retry.max_retries, score.parallel.enabled, score.backend.command) == (7, True, ["echo", "hi"])
    assert [rule.pattern for rule in score.validations] == ["b", "new"]
    assert score.sheet.dependencies == {2: [], 3: [1, 2]}
    assert (score.description, score.cross_sheet) == ("5", None)


def test_what_is_set_is_checked_too(write: Write) -> None:
    with pytest.raises(ScoreError) as caught:
        load_score(str(write()), sets={"retry.max_retries": "-1", "sheet.totl": "3"})
    assert [(p.code, p.field, p.line) for p in caught.value.problems] == [
        ("V108", "sheet.totl", None),
        ("E301", "retry.max_retries", None),
    ]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("name.x", "1", "cannot set name.x: at 'x' 'song' has no fields"),
        ("validations.9.path", "1", "the list has 1 items"),
        ("retry", "{", "cannot understand --set retry={: "),
        ("backend.command.0", "x", "the list has 0 items"),
    ],
)
def test_what_cannot_be_set_is_said(write: Write, name: str, value: str, words: str) -> None:
    with pytest.raises(MozartError) as caught:
        load_score(str(write(backend={"type": "command", "command": []})), sets={name: value})
    assert caught.value.exit_code == 2
    assert words in str(caught.value)


def test_a_workspace_from_the_command_line_starts_where_it_was_typed(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(workspace="./elsewhere")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert load_score(str(path), workspace="out").score.workspace == f"{tmp_path}/here/out"
