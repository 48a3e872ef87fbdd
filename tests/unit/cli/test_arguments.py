"""The fast reader of command lines: whatever it reads, typer reads the same; what it cannot read, it leaves to typer."""

from __future__ import annotations

import inspect
from enum import StrEnum
from typing import Annotated, Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.exceptions import TyperException

from cli.app import for_typer, settings_of
from cli.arguments import Argument, Command, Option, parameters, read
from cli.verbs import VERBS, find_verb


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


calls: list[dict[str, Any]] = []


def verb(
    job: Annotated[str, Argument("A job.")],
    others: Annotated[list[str] | None, Argument("More jobs.")] = None,
    follow: Annotated[bool, Option("--follow", "-f")] = False,
    number: Annotated[int | None, Option("--number", "-n", min=1)] = None,
    seconds: Annotated[float | None, Option("--seconds", min=0)] = None,
    colour: Annotated[Colour | None, Option("--colour")] = None,
    names: Annotated[list[str] | None, Option("--name")] = None,
    sheets: Annotated[list[int] | None, Option("--sheet", min=1)] = None,
) -> int:
    calls.append(dict(locals()))
    return 0


def read_by_typer(command: Command, words: list[str]) -> dict[str, Any] | None:
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(context_settings=settings_of(command))(for_typer(command))
    calls.clear()
    try:
        app(words, standalone_mode=False)
    except TyperException:
        return None
    return calls[0] if calls else None


words = st.lists(
    st.one_of(
        st.sampled_from(
            ["--follow", "-f", "--number", "-n", "--seconds", "--colour", "--name", "--sheet", "--nonsense"]
        ),
        st.sampled_from(
            ["a", "hello-12", "3", "0", "2.5", "007", "red", "green", "", " 4", "1_0", "-", "--", "-1", "٣"]
        ),
        st.sampled_from(
            ["--number=3", "--name=x=y", "--colour=red", "--sheet=2", "--seconds=1e3", "-n3", "--follow=1"]
        ),
    ),
    max_size=7,
)


@given(words)
def test_both_readers_agree(line: list[str]) -> None:
    found = read(verb, line)
    if found is not None:
        assert found == read_by_typer(verb, line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["x"], {"job": "x"}),
        (["-f", "x", "y", "z"], {"job": "x", "others": ["y", "z"], "follow": True}),
        (["x", "--number", "3", "--name", "a", "--name=b"], {"job": "x", "number": 3, "names": ["a", "b"]}),
        (["--colour", "red", "x", "--seconds", "1.5"], {"job": "x", "colour": Colour.RED, "seconds": 1.5}),
        (["x", "--sheet", "2", "--sheet", "4"], {"job": "x", "sheets": [2, 4]}),
    ],
)
def test_the_common_case_is_read_here(line: list[str], expected: dict[str, Any]) -> None:
    found = read(verb, line)
    assert found is not None
    assert {name: value for name, value in found.items() if value not in (None, False)} == expected
    assert found == read_by_typer(verb, line)


def test_a_number_below_zero_is_a_word_where_it_may_be_one() -> None:
    def verb(job: Annotated[str, Argument()], number: Annotated[str, Argument(negative=True)]) -> int:
        calls.append(dict(locals()))
        return 0

    expected = {"job": "x", "number": "-40"}
    assert read(verb, ["x", "-40"]) == expected == read_by_typer(verb, ["x", "-40"])
    assert read(verb, ["x", "-n"]) is None


@pytest.mark.parametrize(
    "line",
    [[], ["--help"], ["x", "--nope"], ["x", "-n", "0"], ["x", "-n", "many"], ["x", "--colour", "green"], ["x", "-n"]],
)
def test_mistakes_and_help_are_left_to_typer(line: list[str]) -> None:
    assert read(verb, line) is None


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_takes_json_and_can_be_read(name: str) -> None:
    command = find_verb(name).command
    known = parameters(command)
    assert "--json" in {flag for one in known if isinstance(one.spec, Option) for flag in one.spec.flags}
    needed = ["x" for one in known if isinstance(one.spec, Argument) and one.default is inspect.Parameter.empty]
    assert read(command, [*needed, "--json"]) is not None
