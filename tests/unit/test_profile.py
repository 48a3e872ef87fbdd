"""Profiles: what is checked when one is read, and what each of its keys does."""

from __future__ import annotations

from typing import Any

import pytest

import backends
from backends.base import STDERR, STDOUT, Ending, Limited, Result, Session, Usage
from backends.profile import profile
from tests.contract.recordings import NOW, run_of

SMALL: dict[str, Any] = {"command": {"argv": ["frob"]}}
NDJSON: dict[str, Any] = {
    "command": {"argv": ["frob", "--json"]},
    "output": {
        "format": "ndjson",
        "lines": [
            {"when": {"kind": "begin"}, "session": "meta.id", "model": "meta.model"},
            {
                "when": {"kind": ["say", "shout"]},
                "text": "parts[].words",
                "tool": "parts[].tool.name",
                "argument": "parts[].tool.arg",
            },
            {
                "when": {"kind": "end"},
                "result": "answer",
                "ok": {"good": True},
                "usage": {"input": "used.in", "output": "used.out", "cache_read": "used.cached"},
                "input_includes_cache": True,
            },
        ],
    },
    "messages": [{"pattern": r"^E(?P<status>\d{3}) .*?until (?P<reset_at>\d+)"}, {"pattern": r"^E(?P<status>\d{3})"}],
    "prices": {"big*": {"input": 3, "output": 15, "cache_read": 0.3}},
}  # fmt: skip


def made(mapping: dict[str, Any]) -> Any:
    """As one that is shipped: any other's patterns are not searched for on the spot."""
    return profile(mapping, "frob", shipped=True)


def ended(parser: Any, code: int | None = 0, stderr: str = "", stdout: str = "") -> Any:
    return parser.verdict(Ending(code, None, None, stderr, stdout, NOW))


@pytest.mark.parametrize("name", backends.shipped())
def test_what_is_shipped_is_right(name: str) -> None:
    backend = backends.load(name)
    assert backend.name == name
    assert backend.command(run_of({"cli_model": "m"})).argv
    assert backend.profile.version  # type: ignore[attr-defined]


def test_six_are_shipped() -> None:
    assert backends.shipped() == ("aider", "bash", "crush", "cursor-agent", "goose", "qwen-code")


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ("no", "it is not a mapping"),
        ({}, "command is missing"),
        ({"command": {}}, "command: argv is missing"),
        ({"comand": {"argv": ["x"]}}, "unknown key 'comand', did you mean command?"),
        ({"command": {"argv": ["x"], "promt": "file"}}, "unknown key 'promt', did you mean prompt?"),
        ({"command": {"argv": "x"}}, "argv: it must be a list, not 'x'"),
        ({"command": {"argv": []}}, "command.argv must have a program"),
        ({"command": {"argv": ["x"], "prompt": "file"}}, "command.argv must have {prompt_file}"),
        ({"command": {"argv": ["x"], "prompt": "argument"}}, "command.argv must have {prompt}"),
        ({"command": {"argv": ["x"], "prompt": "pipe"}}, "command.prompt must be stdin, file or argument"),
        ({"command": {"argv": ["x"], "stop": ["FROB"]}}, "knows no signal 'FROB'"),
        (SMALL | {"output": {"format": "xml"}}, "output.format must be text or ndjson"),
        (SMALL | {"output": {"format": "ndjson"}}, "else nothing tells its end"),
        (SMALL | {"messages": {}}, "messages: it must be a list"),
        (SMALL | {"messages": [{"pattern": "("}]}, "the pattern '(' is wrong"),
        (
            SMALL | {"messages": [{"pattern": "x", "kind": "lmit"}]},
            "unknown kind of failure 'lmit', did you mean limit?",
        ),
        (SMALL | {"messages": [{"pattern": "x"}]}, "needs a kind or a group named status"),
        (SMALL | {"exits": {"x": "auth"}}, "exit codes are numbers"),
        (SMALL | {"exits": {3: "nonsense"}}, "unknown kind of failure 'nonsense'"),
        (SMALL | {"prices": {"*": {"input": "dear"}}}, "input: it must be a float, not 'dear'"),
    ],
)
def test_what_is_wrong_is_said(mapping: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^cannot use the profile 'frob'") as raised:
        made(mapping)
    assert sentence in str(raised.value)


def test_optional_arguments_come_when_the_score_has_what_they_are_for() -> None:
    backend = made({
        "command": {
            "argv": ["frob", "{prompt_file}"],
            "prompt": "file",
            "model": ["--model={model}"],
            "session": ["--new", "{session}"],
            "resume": ["--old", "{session}"],
            "bypass": ["--yes"],
            "no_mcp": ["--alone"],
            "environment": {"FROB_DIR": "{workspace}"},
            "bypass_environment": {"FROB_YES": "1"},
        }
    })  # fmt: skip
    plain = backend.command(run_of({"skip_permissions": False, "disable_mcp": False}))
    assert plain.argv[:3] == ["frob", "/state/prompt", "--new"]
    assert plain.environment == {"FROB_DIR": "/work"}
    assert plain.stdin is None
    full = backend.command(run_of({"cli_model": "m", "cli_extra_args": ["-v"]}, resume="abc"))
    assert full.argv == ["frob", "/state/prompt", "--model=m", "--old", "abc", "--yes", "--alone", "-v"]
    assert full.environment == {"FROB_DIR": "/work", "FROB_YES": "1"}


def test_a_prompt_that_is_too_long_for_an_argument() -> None:
    backend = made({"command": {"argv": ["frob", "{prompt}"], "prompt": "argument"}})
    with pytest.raises(ValueError, match=r"^cannot pass this prompt to frob"):
        backend.command(run_of(prompt="x" * 200_000))


def test_lines_to_events() -> None:
    parser = made(NDJSON).parser(run_of())
    assert parser.feed(STDOUT, b'{"kind":"begin","meta":{"id":"s1","model":"big-7"}}') == [Session("s1", "big-7")]
    assert parser.feed(STDOUT, b'{"kind":"say","parts":[{"words":"hi"}]}') == []
    end = b'{"kind":"end","good":true,"answer":"hi","used":{"in":2000,"out":100,"cached":1000}}'
    usage = Usage(1000, 100, 1000, cost_usd=pytest.approx(0.0048))  # type: ignore[arg-type]
    assert parser.feed(STDOUT, end) == [usage, Result(True, "hi")]
    assert ended(parser).name == "ok"
    assert ended(parser, 3).code == "E009"


def test_an_end_without_what_it_should_have_is_a_failure() -> None:
    parser = made(NDJSON).parser(run_of())
    limit = Limited("E429 hold until 1795396711", 1795396711.0)
    events = parser.feed(STDOUT, b'{"kind":"end","good":false,"answer":"E429 hold until 1795396711"}')
    assert events == [Usage(), limit, Result(False, "E429 hold until 1795396711")]
    verdict = ended(parser, 1)
    assert (verdict.name, verdict.code, verdict.limit) == ("rate_limited", "E101", limit)


def test_no_end_is_truncated() -> None:
    assert ended(made(NDJSON).parser(run_of())).name == "truncated"


def test_what_people_see() -> None:
    renderer = made(NDJSON).renderer()
    line = b'{"kind":"shout","parts":[{"words":"I look"},{"tool":{"name":"grep","arg":"x"}}]}'
    assert renderer.feed(STDOUT, line) == "I look\n→ grep: x\n"
    assert renderer.feed(STDOUT, b'{"kind":"other"}') == ""
    assert renderer.feed(STDERR, b"oh") == "oh\n"
    assert renderer.feed(STDOUT, b'{"kind":"end","good":true,"answer":"hi"}') == "✓ done\n"
    assert made(NDJSON).renderer().feed(STDOUT, b'{"kind":"end","good":false,"answer":"no"}') == "✗ no\n"


def test_exit_codes_have_meanings() -> None:
    parser = made(SMALL | {"exits": {41: "auth"}}).parser(run_of())
    assert (ended(parser, 41).name, ended(parser, 41).code) == ("auth", "E502")


def test_a_text_without_its_mark_of_success() -> None:
    parser = made(SMALL | {"output": {"success": "^Done: "}}).parser(run_of())
    assert ended(parser, stdout="words\nDone: 3 files\n").name == "ok"
    assert ended(parser, stdout="words\n").name == "truncated"


def test_a_limit_seen_in_a_line_is_told_at_once() -> None:
    live = {"pattern": r"throttled, (?P<retry_after>\d+) s", "kind": "limit", "live": True}
    parser = made(SMALL | {"messages": [live]}).parser(run_of())
    assert parser.wants == {STDERR}
    assert parser.feed(STDERR, b"throttled, 2 s") == []
    assert parser.feed(STDERR, b"throttled, 90 s") == [Limited("throttled, 90 s", NOW + 90)]
    assert parser.feed(STDERR, b"throttled, 91 s") == []
    wild = backends.load("frob", SMALL | {"messages": [live]}).parser(run_of())
    assert wild.wild
    assert wild.feed(STDERR, b"throttled, 90 s") == []
    assert wild.live([(STDERR, b"throttled, 90 s")]) == [Limited("throttled, 90 s", NOW + 90)]
