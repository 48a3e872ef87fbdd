"""What a profile may say: the mapping (a YAML file that somebody else has read) that describes another agent CLI, checked.

The keys are those of the dataclasses below; `backends/profiles/*.yaml` are examples. Pure: `read_profile` gives a `Profile`, or
a sentence that names the key. `backends.profile` makes a backend of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from signal import Signals
from typing import Any

from backends.base import STDERR
from backends.failures import FAILURES
from backends.records import number


@dataclass(frozen=True, slots=True)
class Invocation:
    """How it is called. `{prompt}`, `{prompt_file}`, `{system_prompt_file}`, `{model}`, `{session}`, `{workspace}` and
    `{directory}` are replaced; the optional parts come after `argv` when the score has what they are for."""

    argv: list[str]
    prompt: str = "stdin"
    """stdin, file or argument: the latter two stand in argv as `{prompt_file}` or `{prompt}`."""
    model: list[str] = field(default_factory=list)
    session: list[str] = field(default_factory=list)
    resume: list[str] = field(default_factory=list)
    system_prompt: list[str] = field(default_factory=list)
    bypass: list[str] = field(default_factory=list)
    """For skip_permissions."""
    no_mcp: list[str] = field(default_factory=list)
    """For disable_mcp."""
    environment: dict[str, str] = field(default_factory=dict)
    bypass_environment: dict[str, str] = field(default_factory=dict)
    spool: bool = False
    stop: list[str] = field(default_factory=lambda: ["INT", "TERM"])
    """Signals to its group, three seconds apart."""


@dataclass(frozen=True, slots=True)
class Line:
    """What an NDJSON line means. Paths are dotted keys; `[]` after a key goes through a list."""

    when: dict[str, Any]
    """Path → value, or list of values, that the line must have."""
    session: str = ""
    model: str = ""
    text: str = ""
    """Shown to people."""
    delta: bool = False
    """The text continues what was shown."""
    tool: str = ""
    argument: str = ""
    """Of the tool call, shown beside its name."""
    result: str = ""
    """This line is the terminal event; here is the answer or the complaint."""
    ok: dict[str, Any] = field(default_factory=dict)
    """What the terminal event has when all went well."""
    usage: dict[str, str] = field(default_factory=dict)
    """input, output, cache_read, cache_write, cost_usd → path. Totals; input without what came from the cache, unless
    `input_includes_cache`."""
    input_includes_cache: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    format: str = "text"
    """text or ndjson."""
    lines: list[Line] = field(default_factory=list)
    success: str = ""
    """For text: a pattern that only a run that succeeded prints, looked for in the last lines of stdout."""
    failure: str = ""
    """For ndjson: a pattern of results that are none though their event claims success. For text: a pattern with which the
    output of a run that failed ends, whatever its exit code; what it matches is the error's record."""


@dataclass(frozen=True, slots=True)
class Message:
    """A pattern and the kind of failure it shows (a key of `backends.failures.FAILURES`). Named groups: `status` (HTTP,
    instead of a kind), `reset` (words for a time), `reset_at` (Unix time), `retry_after` (seconds)."""

    pattern: str
    kind: str = ""
    live: bool = False
    """Looked for in each line as it comes, so that a limit is known at once."""
    stream: str = STDERR
    """Of a live one."""


@dataclass(frozen=True, slots=True)
class Version:
    argv: list[str]
    pattern: str = r"(\d+\.\d+[\w.-]*)"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    input: float = 0.0
    output: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    name: str
    command: Invocation
    description: str = ""
    output: Output = field(default_factory=Output)
    messages: list[Message] = field(default_factory=list)
    exits: dict[int, str] = field(default_factory=dict)
    """Exit code → kind of failure."""
    version: Version | None = None
    prices: dict[str, Price] = field(default_factory=dict)
    """Model, or a pattern like `gpt-5*`, → price; for agents that tell tokens and no cost."""


# ---- the mapping, checked -------------------------------------------------------------------------------------------


def read_profile(mapping: Mapping[str, Any], name: str) -> Profile:
    """Raises ValueError with a sentence that names the key."""
    if not isinstance(mapping, Mapping):
        raise ValueError(f"cannot use the profile {name!r}: it is not a mapping")
    known: Profile = _read(Profile, {"name": name} | dict(mapping), f"the profile {name!r}", {
        "command": lambda value, at: _read(Invocation, value, at),
        "output": lambda value, at: _read(Output, value, at, {"lines": _each(Line)}),
        "messages": _each(Message),
        "version": lambda value, at: _read(Version, value, at),
        "prices": lambda value, at: {str(key): _read(Price, each, f"{at}.{key}") for key, each in _mapping(value, at)},
        "exits": _exits,
    })  # fmt: skip
    _check(known)
    return known


def _read(kind: Any, value: Any, at: str, inner: Mapping[str, Any] | None = None) -> Any:
    given = dict(_mapping(value, at))
    types = {each.name: str(each.type) for each in fields(kind)}
    for key in given:
        if key not in types:
            near = get_close_matches(str(key), types, 1)
            hint = f", did you mean {near[0]}?" if near else f": known are {', '.join(types)}"
            raise ValueError(f"cannot use {at}: unknown key {key!r}{hint}")
    made = {}
    for key, each in given.items():
        made[key] = (
            inner[key](each, f"{at}: {key}") if inner and key in inner else _plain(types[key], each, f"{at}: {key}")
        )
    try:
        return kind(**made)
    except TypeError as error:
        lacking = re.findall(r"'(\w+)'", str(error).partition(":")[2])
        raise ValueError(f"cannot use {at}: {', '.join(lacking)} is missing") from error


def _mapping(value: Any, at: str) -> Iterator[tuple[Any, Any]]:
    if not isinstance(value, Mapping):
        raise ValueError(f"cannot use {at}: it must be a mapping")
    yield from value.items()


def _each(kind: Any) -> Any:
    def read(value: Any, at: str) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(f"cannot use {at}: it must be a list")
        return [_read(kind, each, f"{at}[{index}]") for index, each in enumerate(value)]

    return read


def _plain(wanted: str, value: Any, at: str) -> Any:
    match wanted:
        case "str" | "list[str]" if isinstance(value, str if wanted == "str" else list):
            return value if wanted == "str" else [str(each) for each in value]
        case "bool" if isinstance(value, bool):
            return value
        case "float" if number(value) is not None:
            return float(value)
        case "dict[str, str]" if isinstance(value, Mapping):
            return {str(key): str(each) for key, each in value.items()}
        case "dict[str, Any]" if isinstance(value, Mapping):
            return dict(value)
    raise ValueError(f"cannot use {at}: it must be a {wanted.partition('[')[0]}, not {value!r}")


def _exits(value: Any, at: str) -> dict[int, str]:
    # JSON, by which a profile travels, has text keys only.
    pairs = [(int(code) if str(code).isdecimal() else code, kind) for code, kind in _mapping(value, at)]
    if not all(isinstance(code, int) and isinstance(kind, str) for code, kind in pairs):
        raise ValueError(f"cannot use {at}: exit codes are numbers, their meanings words")
    return dict(pairs)


def _check(known: Profile) -> None:
    at = f"the profile {known.name!r}"
    if known.command.prompt not in ("stdin", "file", "argument"):
        raise ValueError(f"cannot use {at}: command.prompt must be stdin, file or argument")
    wanted = {"stdin": "", "file": "{prompt_file}", "argument": "{prompt}"}[known.command.prompt]
    if not known.command.argv or (wanted and not any(wanted in word for word in known.command.argv)):
        raise ValueError(f"cannot use {at}: command.argv must have {wanted or 'a program'}")
    if known.output.format not in ("text", "ndjson"):
        raise ValueError(f"cannot use {at}: output.format must be text or ndjson")
    if known.output.format == "ndjson" and not any(line.result for line in known.output.lines):
        raise ValueError(f"cannot use {at}: output.lines must have one with a result, else nothing tells its end")
    for name in known.command.stop:
        if f"SIG{name}" not in Signals.__members__:
            raise ValueError(f"cannot use {at}: command.stop knows no signal {name!r}")
    _check_meanings(known, at)


def _check_meanings(known: Profile, at: str) -> None:
    patterns = [message.pattern for message in known.messages] + [known.output.success, known.output.failure]
    for pattern in [*patterns, known.version.pattern if known.version else ""]:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"cannot use {at}: the pattern {pattern!r} is wrong: {error}") from error
    for kind in [*known.exits.values(), *(message.kind for message in known.messages if message.kind)]:
        if kind not in FAILURES:
            near = get_close_matches(kind, FAILURES, 1)
            hint = f", did you mean {near[0]}?" if near else f": known are {', '.join(FAILURES)}"
            raise ValueError(f"cannot use {at}: unknown kind of failure {kind!r}{hint}")
    for message in known.messages:
        if not message.kind and "(?P<status>" not in message.pattern:
            raise ValueError(f"cannot use {at}: the message {message.pattern!r} needs a kind or a group named status")
