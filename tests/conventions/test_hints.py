"""Every command that a sentence of ours names can be typed: the verb is there, and so are its options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
import typer

from cli.arguments import Option, parameters
from cli.verbs import VERBS, find_verb
from mozartd.commands import app as mozartd
from tests.conventions.tree import PACKAGES, files, name, parsed

#: `mozart …` in backquotes, to its end or to a pipe.
COMMAND = re.compile(r"`(mozartd?)((?: [^`|]*)?)[`|]")


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the program with its place; what an f-string puts in is `{}`."""
    for path in files(*PACKAGES):
        inner = set()
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.JoinedStr):
                inner |= {id(part) for part in ast.walk(node) if part is not node}
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                yield f"{name(path)}:{node.lineno}", "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
                yield f"{name(path)}:{node.lineno}", node.value


def commands() -> list[tuple[str, str, str]]:
    """(program, the rest as it is said, where)."""
    found = {
        (match[1], match[2].strip(), place)
        for place, text in texts()
        for match in COMMAND.finditer(text)
        if match[2].strip() and not match[2].strip().startswith(("--help", "--version", "{}"))
    }
    return sorted(found)


@pytest.mark.parametrize(("program", "said", "place"), commands())
def test_a_command_in_a_sentence_can_be_typed(program: str, said: str, place: str) -> None:
    words = said.split()
    if program == "mozart":
        takes_verb(words, place)
    else:
        takes_daemon_command(words, place)


def takes_verb(words: list[str], place: str) -> None:
    assert words[0] in VERBS, f"{place}: there is no `mozart {words[0]}`"
    command = find_verb(words[0]).command
    known = {flag: one for one in parameters(command) if isinstance(one.spec, Option) for flag in one.spec.flags}
    for word in words[1:]:
        flag = word.partition("=")[0]
        assert not flag.startswith("-") or flag in (*known, "--help", "-h"), (
            f"{place}: `mozart {words[0]}` has no {flag}"
        )


def takes_daemon_command(words: list[str], place: str) -> None:
    known = {
        command.name or command.callback.__name__: command
        for command in mozartd.registered_commands
        if command.callback
    }
    if words[0] == "supervise" or words[0].isupper():
        return  # The daemon itself, which nobody types; any of its commands.
    assert words[0] in known, f"{place}: there is no `mozartd {words[0]}`"
    program = typer.main.get_command_from_info(known[words[0]], pretty_exceptions_short=False, rich_markup_mode=None)
    flags = {flag for one in program.params for flag in one.opts}
    for word in words[1:]:
        assert not word.startswith("-") or word in flags, f"{place}: `mozartd {words[0]}` has no {word}"


def test_there_are_hints_to_look_at() -> None:
    assert len(commands()) > 30
