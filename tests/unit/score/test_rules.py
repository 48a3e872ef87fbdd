"""Rules as data: which apply, what is filled in, how they read; and values that stay one word in a shell."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc.score.rules import applicable, condition_fault, describe, fill, placeholders
from ipc.score.shell import compose, read_script

VARIABLES: dict[str, Any] = {"workspace": "/my work", "sheet_num": 3, "stage": 2, "name": "it's", "n": 1.5}


def rule(**fields: Any) -> dict[str, Any]:
    return {"type": "file_exists", "path": "a", "condition": None, "description": None, **fields}


def test_conditions_choose_rules() -> None:
    rules = [rule(), rule(condition="stage == 2"), rule(condition="stage == 3"), rule(condition="sheet_num == '3'")]
    assert [index for index, _ in applicable(rules, VARIABLES)] == [0, 1, 3]
    assert [condition_fault(each, VARIABLES) for each in rules[:3]] == ["", "", ""]
    assert "compares a number with text" in condition_fault(rules[3], VARIABLES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{workspace}/{sheet_num}-{n}.md", "/my work/3-1.5.md"),
        ("{other} {workspace}", "{other} /my work"),
        (
            "${workspace} {{workspace}} {{ workspace }} {workspace",
            "${workspace} {{workspace}} {{ workspace }} {workspace",
        ),
        ("a{3} \\d{1,2} {} {a-b} {:x}", "a{3} \\d{1,2} {} {a-b} {:x}"),
        ("{workspace}{workspace}", "/my work/my work"),
        ("", ""),
    ],
)
def test_names_in_braces_are_filled(text: str, expected: str) -> None:
    assert fill(text, VARIABLES) == expected


def test_what_is_filled_in_is_not_filled_again() -> None:
    assert fill("{a}", {"a": "{b}", "b": "x"}) == "{b}"


def test_placeholders() -> None:
    assert placeholders("{a}/{b} ${c} {{d}} {3}") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat {workspace}/a", "cat '/my work'/a"),
        ('cat "{workspace}/a"', 'cat "/my work/a"'),
        ("cat '{workspace}/a'", "cat '/my work/a'"),
        ("echo {name} \"{name}\" '{name}'", "echo 'it'\\''s' \"it's\" 'it'\\''s'"),
        ("test {sheet_num} -gt 2", "test 3 -gt 2"),
        ('x="$(cat "{workspace}/a")"', 'x="$(cat "/my work/a")"'),
        ('x="$(cat {workspace}/a)"', "x=\"$(cat '/my work'/a)\""),
        ("# don't\ncat {workspace}", "# don't\ncat '/my work'"),
        ("echo \\' {workspace}", "echo \\' '/my work'"),
        ("awk '{print}' {workspace}", "awk '{print}' '/my work'"),
    ],
)
def test_commands_get_one_word_wherever_it_lands(text: str, expected: str) -> None:
    assert compose(text, VARIABLES).text == expected


COMMANDS = [
    "printf %s {v}", 'printf %s "{v}"', "printf %s '{v}'", 'printf %s "$(printf %s {v})"', 'printf %s "$(printf %s "{v}")"',
    "( printf %s {v} )", "# it's a comment\nprintf %s {v}", "x=\"it's\"; printf %s {v}", "printf %s \"\"{v}''",
]  # fmt: skip


@settings(max_examples=40)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=12)
    | st.text("'\"$`\\(){} ;&|<>#!*~", max_size=12)
)
def test_a_real_shell_sees_the_value_itself(value: str) -> None:
    script = "\nprintf '\\0'\n".join(compose(command, {"v": value}).text for command in COMMANDS)
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True, timeout=20)
    assert done.stdout.decode() == "\0".join([value] * len(COMMANDS))


@pytest.mark.parametrize(
    ("command", "quote"),
    [
        ("", ""), ("a 'b", "'"), ('a "b', '"'), ("a 'b' ", ""), ('"$(', ""), ('"$(a "', '"'), ('"$(a) ', '"'), ("a#'b", "'"),
        ("a #'b", "#"), ("cat <<E\n'", "<<"), ("cat <<'E'\n'", "<<'"),
    ],
)  # fmt: skip
def test_the_quote_that_is_open(command: str, quote: str) -> None:
    assert read_script(command + "{v}").spots[-1].quote == quote


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"path": "{workspace}/a"}, "the file /my work/a exists"),
        ({"type": "file_modified"}, "the file a was changed"),
        ({"type": "content_contains", "pattern": "DONE {sheet_num}"}, "the file a contains 'DONE 3'"),
        ({"type": "content_regex", "pattern": "^a+$"}, "the file a matches the regular expression '^a+$'"),
        ({"type": "command_succeeds", "command": "ls {workspace}\n"}, "this command succeeds: ls '/my work'"),
        ({"description": "Report {sheet_num}"}, "Report 3 (the file a exists)"),
    ],
)
def test_rules_read_as_sentences(fields: dict[str, Any], words: str) -> None:
    assert describe(rule(**fields), VARIABLES) == words
