"""`mozart validate`, `plan` and `schema`: exit codes, what people see, what scripts get. No daemon anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from tests import ROOT
from tests.unit.score.conftest import Write

FAN = {"size": 1, "total_items": 3, "fan_out": {2: 3}, "dependencies": {2: [1], 3: [2]}}

Mozart = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mozart(capfd: pytest.CaptureFixture[str]) -> Mozart:
    """Exit code, stdout, stderr of a command run in this process."""

    def mozart(*arguments: str | Path) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return mozart


# ---- validate -------------------------------------------------------------------------------------------------------


def test_a_good_score_is_valid(mozart: Mozart, write: Write) -> None:
    path = write()
    assert mozart("validate", path) == (0, f"{path}: valid\n", "")


def test_warnings_leave_it_valid(mozart: Mozart, write: Write) -> None:
    path = write(validations=[], state_backend="json")
    code, out, _ = mozart("validate", path)
    assert code == 0
    assert f"{path}:11:1: V203 warning: there are no validations" in out
    assert "\n  hint: " in out
    assert out.endswith(f"{path}: valid (1 warning, 1 info)\n")


@pytest.mark.parametrize("fields", [{"prompt": {"template": "{{ nope }}"}}, {"backned": {}}, {"retry": 3}])
def test_errors_exit_1(mozart: Mozart, write: Write, fields: dict[str, Any]) -> None:
    code, out, _ = mozart("validate", write(**fields))
    assert code == 1
    assert out.endswith("not valid (1 error)\n")


@pytest.mark.parametrize("text", ["a: [", "- a", "", "\0"])
def test_what_cannot_be_read_exits_2(mozart: Mozart, write: Write, text: str) -> None:
    path = write(text)
    code, out, _ = mozart("validate", path)
    assert code == 2
    assert out.startswith(f"{path}:")
    assert out.endswith(f"{path}: not valid (1 error)\n")


def test_a_score_that_is_not_there_exits_2(mozart: Mozart, tmp_path: Path) -> None:
    code, out, _ = mozart("validate", tmp_path / "no.yaml")
    assert code == 2
    assert "the file does not exist" in out


def test_validate_prints_json(mozart: Mozart, write: Write) -> None:
    path = write("name: song\nsheet: {size: 1, total_items: 1}\nprompt: {}\nbackned: {}\nretry: {max_retries: -1}\n")
    code, out, err = mozart("validate", path, "--json")
    document = json.loads(out)
    assert (code, err, document["valid"]) == (1, "", False)
    assert [set(problem) for problem in document["problems"]] == [
        {"code", "severity", "message", "hint", "file", "line", "column", "field"}
    ] * 2
    assert document["problems"][0] == {
        "code": "V108", "severity": "error", "message": "unknown key 'backned'", "hint": "did you mean 'backend'?",
        "file": str(path), "line": 4, "column": 1, "field": "backned",
    }  # fmt: skip
    assert json.loads(mozart("validate", write(), "--json")[1]) == {"valid": True, "problems": []}


def test_validate_takes_what_run_takes(mozart: Mozart, write: Write, tmp_path: Path) -> None:
    path = write(prompt={"template": "{{ nope }}"}, backned={})
    assert mozart("validate", path, "--lenient")[0] == 1
    assert mozart("validate", path, "--lenient", "--var", "nope=1")[0] == 0
    assert mozart("validate", path, "--lenient", "--set", "prompt.template=x")[0] == 0
    assert mozart("validate", write(), "--workspace", tmp_path / "song.yaml")[0] == 1


# ---- plan -----------------------------------------------------------------------------------------------------------


def test_plan_shows_the_waves(mozart: Mozart, write: Write, tmp_path: Path) -> None:
    code, out, err = mozart("plan", write(sheet=FAN, parallel={"enabled": True}))
    assert (code, err) == (0, "")
    assert (
        out
        == f"""\
song
5 sheets, 3 stages, 3 waves, in {tmp_path}/workspace
up to 3 attempts a sheet

WAVE  SHEET  STAGE       AFTER  BACKEND  TIMEOUT  CHECKS
1     1                         command  30m00s   1
2     2      2 (1 of 3)  1      command  30m00s   1
      3      2 (2 of 3)  1      command  30m00s   1
      4      2 (3 of 3)  1      command  30m00s   1
3     5      3           2-4    command  30m00s   1
"""
    )


def test_plan_tells_problems_on_stderr(mozart: Mozart, write: Write) -> None:
    code, out, err = mozart("plan", write(prompt={"template": "{{ nope }}"}, isolation={"enabled": True}))
    assert code == 2, "run would refuse it"
    assert "SHEET" in out
    assert "V101 error" in err
    assert "not available yet: isolation" in err


def test_plan_refuses_what_cannot_be_loaded(mozart: Mozart, write: Write) -> None:
    path = write(sheet={"size": 1, "total_items": 2, "dependencies": {1: [2], 2: [1]}})
    code, out, err = mozart("plan", path)
    assert (code, out) == (2, "")
    assert err.startswith(f"mozart: cannot use the score {path}\n{path}:")
    assert "1 → 2 → 1" in err


def test_plan_prints_json(mozart: Mozart, write: Write, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"sheet": {**FAN, "backends": {2: {"timeout_seconds": 5}}}, "parallel": {"enabled": True}}
    document = json.loads(mozart("plan", write(**fields), "--json")[1])
    assert {name: document[name] for name in ("name", "workspace", "total_sheets", "total_stages", "warnings")} == {
        "name": "song", "workspace": f"{tmp_path}/workspace", "total_sheets": 5, "total_stages": 3, "warnings": [],
    }  # fmt: skip
    assert document["sheets"][1] == {
        "n": 2, "stage": 2, "instance": 1, "fan_count": 3, "start_item": 2, "end_item": 2, "dependencies": [1], "wave": 2,
        "backend": "command", "timeout_seconds": 5.0, "validations": 1,
    }  # fmt: skip
    assert [sheet["wave"] for sheet in document["sheets"]] == [1, 2, 2, 2, 3]


def test_checks_are_counted_by_sheet(mozart: Mozart, write: Write) -> None:
    rules = [{"type": "file_exists", "path": "a", "condition": f"sheet_num >= {n}"} for n in (1, 2, 3)]
    document = json.loads(mozart("plan", write(validations=rules), "--json")[1])
    assert [sheet["validations"] for sheet in document["sheets"]] == [1, 2, 3]


def test_plan_shows_prompts(mozart: Mozart, write: Write) -> None:
    path = write(prompt={"template": "play {{ sheet_num }} in {{ key }}", "variables": {"key": "C"}}, validations=[])
    code, out, _ = mozart("plan", path, "--prompts", "--var", "key=F sharp")
    assert code == 0
    assert "── prompt of sheet 2 ──\nplay 2 in F sharp\n" in out
    document = json.loads(mozart("plan", path, "--prompts", "--json")[1])
    assert [sheet["prompt"] for sheet in document["sheets"]] == ["play 1 in C\n", "play 2 in C\n", "play 3 in C\n"]


def test_prompts_that_need_earlier_outputs_are_shown_without(mozart: Mozart, write: Write) -> None:
    path = write(prompt={"template": "{% for n, t in previous_outputs.items() %}{{ t }}{% endfor %}go"})
    document = json.loads(mozart("plan", path, "--prompts", "--json")[1])
    assert document["sheets"][2]["prompt"].startswith("go\n")
    assert "previous_outputs is empty" in document["warnings"][-1]["message"]
    path = write(prompt={"template": "{% if sheet_num > 1 %}{{ previous_outputs[1] }}{% endif %}go"})
    document = json.loads(mozart("plan", path, "--prompts", "--json")[1])
    assert [sheet["prompt"] is None for sheet in document["sheets"]] == [False, True, True]
    assert "sheet 2 (and of 1 more) cannot be shown" in document["warnings"][0]["message"]


def test_a_wide_plan_is_cut_for_people_alone(mozart: Mozart, write: Write) -> None:
    path = write(sheet={"size": 10, "total_items": 5000, "dependencies": {}})
    out = mozart("plan", path)[1]
    assert "… 460 more" in out
    assert len(out.splitlines()) < 60
    assert len(json.loads(mozart("plan", path, "--json")[1])["sheets"]) == 500


def test_dry_run_is_plan(mozart: Mozart, write: Write) -> None:
    path = write()
    assert mozart("run", path, "--dry-run") == mozart("plan", path)


# ---- schema ---------------------------------------------------------------------------------------------------------


def test_schema_is_a_json_schema_of_every_field(mozart: Mozart) -> None:
    code, out, _ = mozart("schema")
    schema = json.loads(out)
    assert code == 0
    assert schema["required"] == ["name", "sheet", "prompt"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Retry"]["properties"]["exponential_base"]["exclusiveMinimum"] == 1
    assert json.loads(mozart("schema", "--json")[1]) == schema
    assert len(mozart("schema", "--json")[1].splitlines()) == 1


def test_they_are_commands(write: Write) -> None:
    """The real process, and no daemon: MOZART_HOME is a place that cannot be."""
    environment = {"MOZART_HOME": "/dev/null/nowhere", "PATH": "/usr/bin:/bin"}
    for arguments in (["validate", str(write())], ["plan", str(write())], ["schema"]):
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments], cwd=ROOT, env=environment, capture_output=True, timeout=30
        )
        assert (done.returncode, done.stderr) == (0, b""), arguments
        assert done.stdout
