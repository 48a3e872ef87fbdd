"""Whole prompts, word for word: a first attempt, a retry, a completion, a resumed session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipc.messages import LastAttempt, Validation
from ipc.score.prompt import assemble
from ipc.score.schema import Prompt
from ipc.score.template import TemplateProblem

BUILT_IN: dict[str, Any] = {
    "sheet_num": 2, "total_sheets": 3, "workspace": "/w", "stage": 2, "stakes": "The release.", "thinking_method": "",
    "previous_outputs": {"1": "the first said this"}, "previous_files": {},
}  # fmt: skip
RULES: list[dict[str, Any]] = [
    {"type": "file_exists", "path": "{workspace}/{sheet_num}.md", "condition": None, "description": "Report"},
    {"type": "content_contains", "path": "{workspace}/{sheet_num}.md", "pattern": "DONE", "condition": None},
    {"type": "file_exists", "path": "{workspace}/never", "condition": "stage == 3"},
    {"type": "command_succeeds", "command": "make -C {workspace} test", "condition": "stage == 2"},
]
PROMPT = {"template": "Write sheet {{ sheet_num }} about {{ topic }}.\n", "variables": {"topic": "foxes"}}


def result(index: int, passed: bool, detail: str = "") -> Validation:
    return {
        "index": index, "type": "file_exists", "stage": 1, "description": "", "passed": passed, "detail": detail, "code": "",
    }  # fmt: skip


LAST: LastAttempt = {
    "verdict": "incomplete",
    "code": "E202",
    "message": "1 of 2 validations failed",
    "validations": [result(0, True), result(1, False, "found 'TODO' instead")],
}

FIRST = """\
Write sheet 2 about foxes.

## Stakes

The release.

## What will be checked when you are done

- Report (the file /w/2.md exists)
- the file /w/2.md contains 'DONE'
- this command succeeds: make -C /w test
"""


def test_a_first_attempt() -> None:
    assert assemble(PROMPT, BUILT_IN, RULES) == FIRST
    assert assemble(Prompt.model_validate(PROMPT), BUILT_IN, RULES) == FIRST


def test_a_retry_says_what_failed_and_what_the_job_learned() -> None:
    found = assemble(PROMPT, BUILT_IN, RULES, "normal", LAST, ["sheet 1: no such\nfile", "sheet 3: timeout"])
    assert (
        found
        == """\
Write sheet 2 about foxes.

## Stakes

The release.

## The last attempt at this task failed; avoid what it failed on

- 1 of 2 validations failed
- the file /w/2.md contains 'DONE': found 'TODO' instead

## What failed in this job so far

- sheet 1: no such
  file
- sheet 3: timeout

## What will be checked when you are done

- Report (the file /w/2.md exists)
- the file /w/2.md contains 'DONE'
- this command succeeds: make -C /w test
"""
    )


def test_a_completion_says_what_is_missing_then_the_task_whole() -> None:
    head = """\
This task was begun before, and part of it is done. Complete what is missing; leave what is satisfied as it is.

## Already satisfied

- Report (the file /w/2.md exists)

## Still missing

- the file /w/2.md contains 'DONE': found 'TODO' instead

## The task

This is the task as it was given, whole.

"""
    assert assemble(PROMPT, BUILT_IN, RULES, "completion", LAST) == head + FIRST


def test_a_resumed_session_goes_on() -> None:
    last: LastAttempt = {"verdict": "interrupted", "code": "", "message": "the daemon stopped", "validations": []}
    begin = "You were interrupted while you worked on this task. Go on where you stopped; do not begin again.\n\n"
    end = "## The task\n\nThis is the task as it was given, whole.\n\n"
    assert assemble(PROMPT, BUILT_IN, RULES, "resume", last) == begin + end + FIRST
    known = assemble(PROMPT, BUILT_IN, RULES, "resume", LAST)
    assert known.startswith(f"{begin}## Still missing when it was last checked\n\n- ")


def test_what_the_template_uses_is_not_said_twice() -> None:
    prompt = {"template": "{{ stakes }} {{ thinking_method }}"}
    known = {**BUILT_IN, "thinking_method": "Slowly."}
    assert assemble(prompt, known, []) == "The release. Slowly.\n"
    found = assemble({"template": "x"}, known, [])
    assert found == "x\n\n## Stakes\n\nThe release.\n\n## Thinking method\n\nSlowly.\n"


def test_own_variables_hide_built_in_ones_in_rules_too() -> None:
    prompt = {"template": "{{ stage }}", "variables": {"stage": 3}}
    assert "/w/never exists" in assemble(prompt, BUILT_IN, RULES)


def test_outputs_of_earlier_sheets_have_numbers_for_keys() -> None:
    prompt = {"template": "{% if 1 in previous_outputs %}{{ previous_outputs[1] }}{% endif %}"}
    assert assemble(prompt, {**BUILT_IN, "stakes": ""}, []) == "the first said this\n"


def test_maps_with_numbers_for_keys_are_looked_up_after_json() -> None:
    section = Prompt.model_validate({"template": "{{ d[sheet_num] }}", "variables": {"d": {1: "one", 2: "two"}}})
    assert assemble(section.model_dump(mode="json"), {**BUILT_IN, "stakes": ""}, []) == "two\n"


def test_no_prompt_is_still_told_what_is_checked() -> None:
    assert assemble({}, {**BUILT_IN, "stakes": ""}, RULES[:1]).startswith("## What will be checked")
    assert assemble({}, {**BUILT_IN, "stakes": ""}, []) == "\n"


def test_includes_come_from_beside_the_template(tmp_path: Path) -> None:
    (tmp_path / "part.md").write_text("part {{ sheet_num }}")
    known = {**BUILT_IN, "stakes": ""}
    include = {"template": "{% include 'part.md' %}"}
    assert assemble(include, known, [], directory=str(tmp_path)) == "part 2\n"
    assert assemble({**include, "template_file": str(tmp_path / "t.md")}, known, [], directory="/nowhere") == "part 2\n"


def test_what_cannot_be_rendered_is_said() -> None:
    with pytest.raises(TemplateProblem, match="'topik'"):
        assemble({"template": "{{ topik }}", "variables": {"topic": 1}}, BUILT_IN, [])
