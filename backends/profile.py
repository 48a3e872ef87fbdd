"""Any other agent CLI, described by a mapping (a YAML file that somebody else has read): its command, what it prints, what its
exit codes and messages mean. Pure: `profile(mapping, name)` checks it and gives a backend.

The keys are those of the dataclasses below; `backends/profiles/*.yaml` are examples. What a profile says about failures is
only ever looked for in error records, on stderr, or in the output of a run that did not succeed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from signal import Signals
from typing import Any

from backends import endings, evidence
from backends.base import (
    STDERR,
    STDOUT,
    Command,
    Ending,
    Event,
    Limited,
    PromptTooLongError,
    Renderer,
    Result,
    Run,
    Session,
    Usage,
    Verdict,
)
from backends.failures import FAILURES, LIMITS, by_status, failure, limited
from backends.records import count, decoded, last_line, number, record, text
from backends.rendering import Page, Plain, brief, clean, one_line
from backends.resets import Reset, clamp, find_reset, limit_until, zone_of

#: Seconds. A wait announced above this is a limit for Mozart to hold, below it is left to the program.
PATIENCE = 10.0
#: The kernel's MAX_ARG_STRLEN: a longer argument does not exec.
LONGEST_ARGUMENT = 128 * 1024 - 1


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
    """For a terminal event that claims success: a pattern of results that are none."""


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


def profile(mapping: Mapping[str, Any], name: str) -> ProfileBackend:
    """Raises ValueError with a sentence that names the key."""
    if not isinstance(mapping, Mapping):
        raise ValueError(f"cannot use the profile {name!r}: it is not a mapping")
    known = _read(Profile, {"name": name} | dict(mapping), f"the profile {name!r}", {
        "command": lambda value, at: _read(Invocation, value, at),
        "output": lambda value, at: _read(Output, value, at, {"lines": _each(Line)}),
        "messages": _each(Message),
        "version": lambda value, at: _read(Version, value, at),
        "prices": lambda value, at: {str(key): _read(Price, each, f"{at}.{key}") for key, each in _mapping(value, at)},
        "exits": _exits,
    })  # fmt: skip
    _check(known)
    return ProfileBackend(known)


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


# ---- the backend ----------------------------------------------------------------------------------------------------


class ProfileBackend:
    def __init__(self, known: Profile) -> None:
        self.name = known.name
        self.profile = known
        self.renders = known.output.format == "ndjson"
        self.resumes = bool(known.command.resume)

    def command(self, run: Run) -> Command:
        known, options = self.profile.command, run.options
        argv = [*known.argv]
        argv += known.model if options.get("cli_model") else []
        argv += known.resume if run.resume else known.session
        argv += known.system_prompt if run.system_prompt is not None else []
        argv += known.bypass if options.get("skip_permissions", True) else []
        argv += known.no_mcp if options.get("disable_mcp", True) else []
        filled = [_fill(word, run) for word in argv] + [str(word) for word in options.get("cli_extra_args") or ()]
        if any(len(word.encode("utf-8", "surrogateescape")) > LONGEST_ARGUMENT or "\0" in word for word in filled):
            raise PromptTooLongError(
                f"cannot pass this prompt to {self.name} in an argument: it is too long or holds a NUL byte"
            )
        environment = known.environment | (known.bypass_environment if options.get("skip_permissions", True) else {})
        return Command(
            filled,
            stdin=run.prompt.encode("utf-8", "replace") if known.prompt == "stdin" else None,
            environment={key: _fill(each, run) for key, each in environment.items() if key not in run.environment},
            spool=known.spool,
            stop=tuple((Signals[f"SIG{name}"], 3.0) for name in known.stop),
        )

    def parser(self, run: Run) -> ProfileParser:
        return ProfileParser(self.profile, run)

    def renderer(self) -> Renderer:
        return ProfileRenderer(self.profile) if self.renders else Plain()


def _fill(word: str, run: Run) -> str:
    values = {
        "directory": run.directory,
        "model": str(run.options.get("cli_model") or ""),
        "prompt": run.prompt,
        "prompt_file": run.prompt_file,
        "session": run.resume or run.session_id,
        "system_prompt_file": str(run.options.get("system_prompt_file") or ""),
        "workspace": run.workspace,
    }
    return _PLACEHOLDER.sub(lambda found: values[found[1]], word)


_PLACEHOLDER = re.compile(r"\{(directory|model|prompt|prompt_file|session|system_prompt_file|workspace)\}")


class ProfileParser:
    def __init__(self, known: Profile, run: Run) -> None:
        self._known = known
        self._ndjson = known.output.format == "ndjson"
        self._mattering = [line for line in known.output.lines if line.session or line.usage or line.result]
        self._gate = re.compile(b"|".join(map(_mark, self._mattering)))
        self._live = [message for message in known.messages if message.live]
        self.wants = frozenset({message.stream for message in self._live} | ({STDOUT} if self._ndjson else set()))
        self._model = str(run.options.get("cli_model") or "")
        self._clock = run.clock
        self._zone = zone_of(run.environment)
        self._words = evidence.limit_words(run.options)
        self._limit: Limited | None = None
        self._result: Result | None = None

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        events = list(self._take_live(stream, line)) if self._live else []
        if self._ndjson and stream == STDOUT and line.startswith(b"{") and self._gate.search(line):
            item = record(line) or {}
            for meaning in self._mattering:
                if _is(item, meaning.when):
                    events += self._take(item, meaning)
        return events

    def _take_live(self, stream: str, line: bytes) -> Iterator[Event]:
        for message in self._live:
            if message.stream == stream and (found := re.search(message.pattern, decoded(line))):
                limit = self._limit_of(found, message, decoded(line))
                wait = None if limit is None or limit.until is None else limit.until - self._clock()
                if limit and (wait is None or wait >= PATIENCE) and self._limit is None:
                    self._limit = limit
                    yield limit

    def _take(self, item: dict[str, Any], meaning: Line) -> Iterator[Event]:
        if meaning.model:
            self._model = text(_first(item, meaning.model)) or self._model
        if meaning.session:
            yield Session(text(_first(item, meaning.session)), self._model or None)
        if meaning.usage:
            yield self._usage(item, meaning)
        if meaning.result:
            said = text(_first(item, meaning.result))
            wrong = bool(self._known.output.failure and re.search(self._known.output.failure, said))
            self._result = Result(_is(item, meaning.ok) and not wrong, said)
            if not self._result.ok and (limit := self._limit_in(said)) and self._limit is None:
                self._limit = limit
                yield limit
            yield self._result

    def _usage(self, item: dict[str, Any], meaning: Line) -> Usage:
        told = {name: count(_first(item, path)) for name, path in meaning.usage.items() if name != "cost_usd"}
        if meaning.input_includes_cache:
            told["input"] = max(0, told.get("input", 0) - told.get("cache_read", 0))
        cost = number(_first(item, meaning.usage["cost_usd"])) if "cost_usd" in meaning.usage else None
        return Usage(**told, cost_usd=self._priced(told) if cost is None else cost)

    def _priced(self, told: Mapping[str, int]) -> float | None:
        price = next((each for name, each in self._known.prices.items() if fnmatchcase(self._model, name)), None)
        if price is None:
            return None
        return sum(tokens * float(getattr(price, name)) for name, tokens in told.items()) / 1e6

    def _limit_in(self, said: str) -> Limited | None:
        found, message = self._message_in(said)
        return self._limit_of(found, message, said) if found and message else None

    def _limit_of(self, found: re.Match[str], message: Message, said: str) -> Limited | None:
        kind, groups, now = _kind(found, message), found.groupdict(), self._clock()
        if kind not in LIMITS:
            return None
        reset: Reset | None
        if groups.get("retry_after"):
            reset = clamp(now + float(groups["retry_after"]), now)
        elif groups.get("reset_at"):
            reset = clamp(float(groups["reset_at"]), now)
        else:
            reset = find_reset(f"resets {groups['reset']}" if groups.get("reset") else said, now, self._zone)
        return limit_until(said.strip(), LIMITS[kind], reset)

    def _message_in(self, said: str) -> tuple[re.Match[str] | None, Message | None]:
        for message in self._known.messages:
            if found := re.search(message.pattern, said, re.MULTILINE):
                return found, message
        return None, None

    # ---- the verdict ----

    def verdict(self, ending: Ending) -> Verdict:
        if ending.stopped_by == "post_result" and self._result and not self._result.ok:
            return self._judge_words(self._result.text, ending)
        if stop := endings.stopped(ending, self._limit):
            return stop
        if self._result is not None:
            return self._judge_result(self._result, ending)
        if ending.exit_code == 0 and self._succeeded(ending):
            return Verdict("ok")
        return self._judge_failure(ending)

    def _judge_result(self, result: Result, ending: Ending) -> Verdict:
        if not result.ok:
            return self._judge_words(result.text, ending)
        if ending.exit_code == 0:
            return Verdict("ok")
        message = f"it reported success but exited with {ending.exit_code}"
        return endings.signalled(ending) or endings.crashed(ending) or endings.failed(ending, message=message)

    def _succeeded(self, ending: Ending) -> bool:
        """For text. Without a pattern of success an exit code of 0 has to do."""
        if self._ndjson:
            return False
        success = self._known.output.success
        last = "\n".join(ending.stdout_tail.rstrip().split("\n")[-8:])
        return not success or re.search(success, last, re.MULTILINE) is not None

    def _judge_failure(self, ending: Ending) -> Verdict:
        said = ending.stderr_tail
        if self._known.output.success:
            # It does not tell by its exit code, so what it printed instead of success counts.
            said += "\n" + ending.stdout_tail
        return (
            self._meant(said)
            or self._exit_meant(ending)
            or (limited(self._limit) if self._limit else None)
            or endings.signalled(ending)
            or endings.crashed(ending)
            or endings.conventional(ending, self._known.command.argv[0])
            or (evidence.judge(ending.stderr_tail, ending.now, self._words, self._zone) if ending.exit_code else None)
            or (endings.truncated(ending) if ending.exit_code == 0 else endings.failed(ending))
        )

    def _judge_words(self, said: str, ending: Ending) -> Verdict:
        return (
            self._meant(said)
            or self._exit_meant(ending)
            or evidence.judge(said or ending.stderr_tail, ending.now, self._words, self._zone)
            or failure("other", said or last_line(ending.stderr_tail) or "its last event says that it failed")
        )

    def _meant(self, said: str) -> Verdict | None:
        found, message = self._message_in(said)
        if found is None or message is None:
            return None
        kind = _kind(found, message)
        return failure(kind, _around(said, found), self._limit or self._limit_of(found, message, found[0]))

    def _exit_meant(self, ending: Ending) -> Verdict | None:
        kind = self._known.exits.get(ending.exit_code or 0, "")
        said = last_line(ending.stderr_tail) or f"exit code {ending.exit_code}"
        return failure(kind, said, self._limit) if kind else None


def _kind(found: re.Match[str], message: Message) -> str:
    status = found.groupdict().get("status")
    return message.kind or by_status(int(status) if status and status.isdigit() else None)


def _around(said: str, found: re.Match[str]) -> str:
    begin = said.rfind("\n", 0, found.start()) + 1
    end = said.find("\n", found.end())
    return said[begin : end if end >= 0 else len(said)].strip()


def _mark(line: Line) -> bytes:
    """What a line must have in it before it is worth parsing: the last word asked for, which tells most."""
    words = [value for value in line.when.values() if isinstance(value, str)]
    return re.escape(f'"{words[-1]}"'.encode()) if words else b""


# ---- paths ----------------------------------------------------------------------------------------------------------


def _values(value: Any, path: str) -> Iterator[Any]:
    """Every value at a dotted path; `[]` after a key goes through a list."""
    key, _, rest = path.partition(".")
    through = key.endswith("[]")
    if not isinstance(value, dict):
        return
    inner = value.get(key.removesuffix("[]"))
    for each in (inner if isinstance(inner, list) else []) if through else [inner]:
        if rest:
            yield from _values(each, rest)
        elif each is not None:
            yield each


def _first(value: Any, path: str) -> Any:
    return next(_values(value, path), None)


def _is(item: dict[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(
        _first(item, path) in each if isinstance(each, list) else _first(item, path) == each
        for path, each in wanted.items()
    )


# ---- for people -----------------------------------------------------------------------------------------------------


class ProfileRenderer:
    """Texts and tool calls where the profile says they are; lines that are not JSON as they are."""

    def __init__(self, known: Profile) -> None:
        self._lines = known.output.lines
        self._page = Page()
        self._shown = False

    def feed(self, stream: str, line: bytes) -> str:
        item = record(line) if stream == STDOUT and line.startswith(b"{") else None
        if item is None:
            return self._page.line(clean(decoded(line)))
        return "".join(self._show(item, meaning) for meaning in self._lines if _is(item, meaning.when))

    def finish(self) -> str:
        return self._page.fresh()

    def _show(self, item: dict[str, Any], meaning: Line) -> str:
        shown = ""
        for words in map(clean, _values(item, meaning.text) if meaning.text else ()):
            if words:
                self._shown = True
                shown += self._page.stream(words) if meaning.delta else self._page.line(words)
        for name in map(clean, _values(item, meaning.tool) if meaning.tool else ()):
            argument = brief(_first(item, meaning.argument)) if meaning.argument else ""
            shown += self._page.line(f"→ {name}: {argument}" if argument else f"→ {name}")
        if meaning.result:
            shown += self._show_result(item, meaning)
        return shown

    def _show_result(self, item: dict[str, Any], meaning: Line) -> str:
        said = _first(item, meaning.result)
        if not _is(item, meaning.ok):
            return self._page.line(f"✗ {one_line(said, 300) or 'failed'}")
        answer = "" if self._shown else self._page.line(clean(said))
        return answer + self._page.line("✓ done")
