"""`mozart validate`: every code fires on its mistake and is silent on what only looks like it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ipc.score.check import check
from ipc.score.load import LoadedScore, load_score
from ipc.score.problems import Problem
from tests.unit.score.conftest import Write

Load = Callable[..., LoadedScore]

SHEET = {"size": 1, "total_items": 3}
AGENT = {"type": "claude_cli"}
FAN = {**SHEET, "fan_out": {2: 3}}
CHAINED = {**FAN, "dependencies": {2: [1], 3: [2]}}
LONG = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def prompt(template: str, **variables: Any) -> dict[str, Any]:
    return {"template": template, "variables": variables}


def hooks(*paths: str) -> list[dict[str, Any]]:
    return [{"type": "run_job", "job_path": path} for path in paths]


def notify(kind: str, **config: Any) -> list[dict[str, Any]]:
    return [{"type": kind, "config": config}]


def rule(**fields: Any) -> list[dict[str, Any]]:
    return [{"type": "content_contains", "path": "{workspace}/a", "pattern": "b", **fields}]


def command(text: str) -> list[dict[str, Any]]:
    return [{"type": "command_succeeds", "command": text}]


#: (code, severity, field, fields of a score that has it, words)
FIRES: list[tuple[str, str, str, dict[str, Any], str]] = [
    ("V001", "error", "prompt.template", {"prompt": prompt("{% if %}")}, "syntax"),
    ("V101", "error", "prompt.template", {"prompt": prompt("{{ sheet_nun }}")}, "did you mean 'sheet_num'?"),
    ("V101", "error", "prompt.template", {"prompt": prompt("{{ qqq }}")}, "--var qqq="),
    ("V101", "error", "prompt.template", {"prompt": prompt("{{ d[sheet_num] }}", d={1: "a"})}, "prompt of sheet 2"),
    ("V101", "error", "prompt.template", {"prompt": prompt("{% include 'no.md' %}")}, "'no.md' does not exist"),
    ("V101", "error", "prompt.template", {"prompt": prompt("{{ ''.__class__ }}")}, "refused"),
    ("V101", "error", "prompt.template", {"prompt": prompt(LONG)}, "more than 1,000,000 steps"),
    ("V101", "error", "validations[0].path", {"validations": rule(path="{workspce}/a")}, "did you mean 'workspace'?"),
    ("V002", "warning", "workspace", {"workspace": "no/such/place"}, "it will be created"),
    ("V002", "error", "workspace", {"workspace": "/dev/null"}, "not a directory"),
    ("V002", "error", "workspace", {"workspace": "/dev/null/x"}, "/dev/null is not a directory"),
    ("V005", "error", "backend.working_directory", {"backend": {**AGENT, "working_directory": "no"}}, "does not exist"),
    ("V005", "error", "sheet.backends[2].working_directory",
     {"sheet": {**SHEET, "backends": {2: {"working_directory": "/dev/null"}}}}, "is not a directory"),
    ("V009", "warning", "workspace", {"name": "song-v7", "workspace": "work-v6"}, "should it say v7?"),
    ("V009", "warning", "on_success[0].job_path", {"name": "song-v7", "on_success": hooks("song-v6.yaml")}, "v6"),
    ("V103", "warning", "backend.timeout_seconds", {"backend": {**AGENT, "timeout_seconds": 59}}, "59 s is short"),
    ("V103", "warning", "sheet.backends[2].timeout_seconds",
     {"sheet": {**SHEET, "backends": {2: {**AGENT, "timeout_seconds": 5}}}}, "5 s is short"),
    ("V104", "info", "backend.timeout_seconds", {"backend": {**AGENT, "timeout_seconds": 7201}}, "2.0 h is long"),
    ("V104", "info", "backend.timeout_overrides[2]", {"backend": {**AGENT, "timeout_overrides": {2: 9000}}}, "2.5 h"),
    ("V106", "warning", "validations[0].pattern", {"validations": rule(pattern=" ")}, "empty"),
    ("V107", "warning", "validations[0].path", {"workspace": "/no", "validations": rule(path="/no/x/a")}, "{workspace}"),
    ("V112", "warning", "validations[0].condition", {"validations": rule(condition="sheet_num > 3")}, "for no sheet"),
    ("V112", "warning", "validations[0].condition", {"validations": rule(condition="stage == 9")}, "stages 1 to 3"),
    ("V112", "error", "validations[0].condition", {"validations": rule(condition="sheet_num == '3'")}, "a number with text"),
    ("V112", "error", "validations[0].condition",
     {"validations": rule(condition="sheet_num > 1 and topic > 2"), "prompt": prompt("x", topic="a")}, "for sheet 2"),
    ("V201", "error", "validations[0].path", {"validations": rule(path="{{ workspace }}/a")}, "single braces"),
    ("V201", "warning", "validations[0].command", {"validations": command("ls {{ sheet_num - 1 }}")}, "{sheet_num}"),
    ("V201", "warning", "sheet.skip_when_command[2].command",
     {"sheet": {**SHEET, "skip_when_command": {2: {"command": "test -e {{ workspace }}/a"}}}}, "{workspace}"),
    ("V202", "warning", "prompt.template", {"prompt": prompt("write {workspace}/a")}, "{{ workspace }}"),
    ("V202", "warning", "prompt.variables.a", {"prompt": prompt("{{ a }}", a="in {{ workspace }}")}, "not rendered"),
    ("V203", "warning", "validations", {"validations": []}, "no validations"),
    ("V204", "warning", "backend.skip_permissions", {"backend": {**AGENT, "skip_permissions": False}}, "permission"),
    ("V205", "info", "validations", {"validations": [{"type": "file_exists", "path": "a"}]}, "only look whether"),
    ("V206", "warning", "sheet.fan_out", {"sheet": FAN, "parallel": {"enabled": True}}, "without dependencies"),
    ("V207", "warning", "sheet.fan_out", {"sheet": CHAINED}, "without parallel"),
    ("V208", "warning", "prompt.variables.stage", {"prompt": prompt("x", stage=1)}, "'stage' hides"),
    ("V209", "warning", "backend.allowed_tools",
     {"backend": {"type": "command", "command": ["true"], "allowed_tools": ["Read"]}}, "does not use allowed_tools"),
    ("V209", "warning", "backend.command", {"backend": {**AGENT, "command": "a", "temperature": 0.5}}, "command, temp"),
    ("V209", "warning", "backend.cli_model",
     {"backend": {"type": "own", "cli_model": "m", "profile": {"command": {"argv": ["true"]}}}}, "not use cli_model"),
    ("V209", "warning", "backend.profile", {"backend": {**AGENT, "profile": {}}}, "does not use profile"),
    ("V209", "warning", "sheet.backends[2].fallbacks[0].allowed_tools",
     {"sheet": {**SHEET, "backends": {2: {"fallbacks": [{"type": "codex_cli", "allowed_tools": []}]}}}}, "allowed_tools"),
    ("V209", "info", "state_backend", {"state_backend": "json"}, "the daemon keeps the state"),
    ("V210", "warning", "backend.command", {"backend": {"type": "command", "command": ["no-such-program"]}}, "no-such-program"),
    ("V210", "warning", "backend.type", {"backend": {**AGENT, "env": {"PATH": "/nowhere"}}}, "claude: command not found"),
    ("V210", "warning", "backend.command", {"backend": {"type": "command", "command": ["./no.sh"]}}, "./no.sh"),
    ("V210", "warning", "backend.fallbacks[0].type",
     {"backend": {**AGENT, "fallbacks": [{"type": "codex_cli", "env": {"PATH": "/nowhere"}}]}}, "codex: command not found"),
    ("V210", "warning", "backend.type",
     {"backend": {"type": "own", "profile": {"command": {"argv": ["no-such-agent"]}}}}, "no-such-agent"),
    ("V212", "warning", "sheet.skip_when[4]", {"sheet": {**SHEET, "skip_when": {4: "job.cost > 1"}}}, "no sheet 4"),
    ("V212", "warning", "sheet.skip_when_command[9]",
     {"sheet": {**SHEET, "skip_when_command": {9: {"command": "a"}}}}, "sheet 9"),
    ("V212", "warning", "sheet.backends[6]", {"sheet": {**CHAINED, "backends": {6: AGENT}}}, "stages do not count"),
    ("V212", "warning", "backend.timeout_overrides[4]", {"backend": {**AGENT, "timeout_overrides": {4: 100}}}, "no sheet 4"),
    ("V213", "error", "cost_limits", {"cost_limits": {"enabled": True, "max_cost_per_job": 1}},
     "the `command` backend reports no cost"),
    ("V214", "error", "validations[0].path", {"validations": rule(path="../a")}, "outside the workspace"),
    ("V214", "error", "validations[0].path", {"validations": rule(path="/etc/passwd")}, "outside the workspace"),
    ("V214", "error", "validations[0].path", {"validations": rule(path="{workspace}-other/a")}, "outside the workspace"),
    ("V215", "warning", "on_success[0].job_path", {"on_success": hooks("no.yaml")}, "does not exist"),
    ("V215", "warning", "on_failure_hooks[0].job_path", {"on_failure_hooks": hooks("no.yaml")}, "does not exist"),
    ("V216", "warning", "notifications[0]", {"notifications": notify("slack", webhook_url_env="NO_SUCH")}, "NO_SUCH"),
    ("V216", "warning", "notifications[0]",
     {"notifications": notify("webhook", headers={"A": "b ${NO_SUCH}"})}, "NO_SUCH"),
    ("V216", "warning", "notifications[0]", {"notifications": notify("email", password_env="NO_SUCH")}, "NO_SUCH"),
    ("unavailable", "warning", "isolation", {"isolation": {"enabled": True}}, "not available yet: isolation"),
    ("V210", "warning", "bridge",
     {"backend": {"type": "ollama", "env": {"PATH": "/nowhere"}}, "bridge": {"enabled": True}}, "claude: command not found"),
    ("V209", "warning", "bridge", {"bridge": {"enabled": True}}, "which this score does not use"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "severity", "field", "fields", "words"), FIRES, ids=[f"{f[0]}-{f[2]}-{f[4]}" for f in FIRES]
)
def test_a_code_fires(load: Load, code: str, severity: str, field: str, fields: dict[str, Any], words: str) -> None:
    found = [problem for problem in check(load(**fields)) if (problem.code, problem.field) == (code, field)]
    assert len(found) == 1, check(load(**fields))
    assert found[0].severity == severity
    assert words in str(found[0]), found[0]


#: (code, fields of a score that only looks as if it had it)
SILENT: list[tuple[str, dict[str, Any]]] = [
    ("V001", {"prompt": prompt("{% raw %}{% if %}{% endraw %}")}),
    ("V001", {"prompt": {}}),
    ("V101", {"prompt": prompt("{{ topic }}{{ workspace }}{{ job_id }}{{ attempt }}", topic=1)}),
    ("V101", {"prompt": prompt("{{ x|default('y') }}{% if z is defined %}{{ z }}{% endif %}")}),
    ("V101", {"prompt": prompt("{{ previous_outputs[1] }}{{ previous_files['a'] }}")}),
    ("V101", {"prompt": prompt("{{ d[sheet_num] }}", d={1: "a", 2: "b", 3: "c"})}),
    ("V101", {"validations": rule(path="{workspace}/{topic}"), "prompt": prompt("x", topic="a")}),
    ("V101", {"validations": rule(pattern="a{foo}")}),
    ("V002", {"workspace": "made"}),
    ("V005", {"backend": {**AGENT, "working_directory": "./workspace"}}),
    ("V005", {"backend": {**AGENT, "working_directory": "."}}),
    ("V009", {"name": "song-v7", "workspace": "work-v7", "on_success": hooks("song-v8.yaml")}),
    ("V009", {"name": "song", "workspace": "work-v6"}),
    ("V103", {"backend": {"type": "command", "command": ["true"], "timeout_seconds": 1}}),
    ("V103", {"backend": {**AGENT, "timeout_seconds": 60}}),
    ("V104", {"backend": {**AGENT, "timeout_seconds": 7200}}),
    ("V106", {"validations": rule(pattern="a")}),
    ("V107", {"validations": rule(path="{workspace}/not/yet/there")}),
    ("V107", {"validations": rule(path="not/yet/there")}),
    ("V112", {"validations": rule(condition="sheet_num == 3 and stage == 3")}),
    ("V112", {"validations": rule(condition="previous_outputs[1] == 'x' or attempt > 1")}),
    ("V201", {"validations": command("awk '{{print}}' {workspace}/a")}),
    ("V202", {"prompt": prompt("print(f'{value}') {{ workspace }} ${workspace} {{workspace}} {% raw %}x{% endraw %}")}),
    ("V202", {"prompt": prompt("{{ intro }}", intro="${{ secrets.X }} {workspace} {{ x", n=3)}),
    ("V203", {}),
    ("V204", {"backend": {"type": "command", "command": ["true"], "skip_permissions": False}}),
    ("V205", {"validations": [*rule(), {"type": "file_exists", "path": "a"}]}),
    ("V206", {"sheet": CHAINED}),
    ("V206", {"sheet": {**SHEET, "fan_out": {2: 1}}}),
    ("V207", {"sheet": CHAINED, "parallel": {"enabled": True}}),
    ("V208", {"prompt": prompt("x", stages=1)}),
    ("V209", {"backend": {**AGENT, "allowed_tools": ["Read"], "env": {"A": "b"}, "timeout_seconds": 100}}),
    ("V210", {"backend": {"type": "command", "command": "no-such-program | cat"}}),
    ("V210", {"backend": {"type": "command", "command": ["{workspace}/run"]}}),
    ("V212", {"sheet": {**CHAINED, "backends": {5: AGENT}, "skip_when": {1: "job.cost > 1"}}}),
    ("V213", {"cost_limits": {"enabled": True, "max_cost_per_job": 1}, "backend": AGENT}),
    ("V213", {"cost_limits": {"enabled": False, "max_cost_per_job": 1}}),
    ("V214", {"validations": rule(path="{workspace}/../workspace/a")}),
    ("V214", {"validations": rule(path="a/../b")}),
    (
        "V215",
        {"on_success": [*hooks("song.yaml", "{workspace}/next.yaml"), {"type": "run_command", "command": "no"}]},
    ),
    ("V216", {"notifications": [*notify("slack", webhook_url="x"), *notify("desktop")]}),
    ("unavailable", {"isolation": {"enabled": True, "mode": "none"}, "backend": AGENT}),
]


@pytest.mark.parametrize(("code", "fields"), SILENT, ids=[f"{code}-{n}" for n, (code, _) in enumerate(SILENT)])
def test_a_code_is_silent(load: Load, code: str, fields: dict[str, Any]) -> None:
    assert not [str(problem) for problem in check(load(**fields)) if problem.code == code]


def test_a_good_score_has_no_problem(load: Load) -> None:
    assert check(load()) == []


def test_every_code_of_the_page_is_tested(shared: Path) -> None:
    """Those that a check finds here, the others where a score is loaded."""
    page = (shared / "score-format.md").read_text()
    codes = set(re.findall(r"\bV\d{3}\b", page[page.index("## 7.") : page.index("## 8.")]))
    loading = {"V003", "V004", "V007", "V008", "V108", "V110", "V111"}
    assert codes - loading == {code for code, *_ in FIRES if code != "unavailable"}
    assert codes - loading == {code for code, _ in SILENT if code != "unavailable"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_that_cannot_be_written(load: Load) -> None:
    (problem,) = check(load(workspace="/etc/song"))
    assert (problem.code, problem.severity) == ("V002", "error")


# ---- places ---------------------------------------------------------------------------------------------------------

TEMPLATE = """\
name: song
backend: {type: command, command: ["true"]}
sheet: {size: 1, total_items: 1}
validations: [{type: command_succeeds, command: "true"}]
prompt:
  template: |
    one
    {{ two }}
    {% if three %}
    {% endif %}
    {workspace}
"""


def place(problem: Problem) -> tuple[str, int | None, int | None]:
    return problem.code, problem.line, problem.column


def test_problems_of_a_template_stand_on_its_lines(load: Load) -> None:
    assert [place(problem) for problem in check(load(TEMPLATE))] == [("V101", 8, 1), ("V101", 9, 1), ("V202", 11, 1)]
    assert [place(problem) for problem in check(load(TEMPLATE.replace("endif", "endfor")))] == [
        ("V001", 10, 1),
        ("V202", 11, 1),
    ]


def test_problems_of_a_template_file_stand_in_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one\n{{ two }}\n")
    (problem,) = check(load(prompt={"template_file": "a.md"}))
    assert str(problem).startswith(f"{tmp_path}/a.md:2:1: V101 error: ")


def test_they_come_in_the_order_of_the_file(load: Load) -> None:
    problems = check(load(workspace="no/such", validations=rule(pattern=""), prompt=prompt("{{ b }}"), priority=1))
    lines = [problem.line or 0 for problem in problems]
    assert lines == sorted(lines)
    assert len(lines) == 3


def test_what_the_command_line_set_is_named_without_a_line(write: Write) -> None:
    loaded = load_score(str(write()), variables={"stage": "1"})
    (problem,) = check(loaded)
    assert problem.line is None
    assert (
        str(problem)
        == f"{loaded.document.path}: V208 warning: the variable 'stage' hides the built-in one\n  hint: choose another name"
    )


def test_problems_as_json(load: Load) -> None:
    (problem,) = check(load(validations=[]))
    assert problem.as_json() == {
        "code": "V203", "severity": "warning", "message": problem.message, "hint": problem.hint,
        "file": problem.file, "line": 11, "column": 1, "field": "validations",
    }  # fmt: skip


@pytest.mark.parametrize("package", ["anthropic", "ollama"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(load: Load, package: str) -> None:
    kind = {"anthropic": "anthropic_api"}.get(package, package)
    found = [problem for problem in check(load(backend={"type": kind})) if problem.code == "V210"]
    if find_spec(package):
        assert not found
    else:
        assert f"pip install 'mozartd[{package}]'" in found[0].hint
