"""Any other agent CLI, as a profile describes it: its command, what it prints, what its exit codes and messages mean.

What a profile says about failures is only ever looked for in error records, on stderr, or in the output of a run that did not
succeed. What it may say stands in `described`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from signal import Signals
from typing import Any

from backends import endings, evidence
from backends.base import (
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
    as_operand,
)
from backends.described import Line, Message, Profile, read_profile
from backends.failures import LIMITS, by_status, failure, limited
from backends.patience import Patience, Pause
from backends.patterns import are_tame, is_tame
from backends.records import count, decoded, last_line, price, record, text
from backends.rendering import Owed, Page, Plain, brief, clean, one_line, trouble
from backends.resets import Reset, clamp, find_reset, limit_until, zone_of

#: Seconds. A wait announced above this is a limit for Mozart to hold, below it is left to the program.
PATIENCE = 10.0
#: What an agent may wait for beside limits: the service, and the way to it.
WAITED_FOR = ("dns", "network", "network_timeout", "timeout", "tls", "unreachable")
#: Characters of either end of an answer in which messages are looked for.
MOST_SAID = 8 * 1024
#: The kernel's MAX_ARG_STRLEN: a longer argument does not exec.
LONGEST_ARGUMENT = 128 * 1024 - 1


def profile(mapping: Mapping[str, Any], name: str, shipped: bool = False) -> ProfileBackend:
    """Raises ValueError with a sentence that names the key. `shipped`: its patterns are known to be over soon."""
    return ProfileBackend(read_profile(mapping, name), shipped)


class ProfileBackend:
    def __init__(self, known: Profile, shipped: bool = False) -> None:
        self._shipped = shipped
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
        filled, passed = run.fill(argv, _given(run))
        filled += [str(word) for word in options.get("cli_extra_args") or ()]
        if any(len(word.encode("utf-8", "surrogateescape")) > LONGEST_ARGUMENT or "\0" in word for word in filled):
            raise PromptTooLongError(
                f"cannot pass this prompt to {self.name} in an argument: it is too long or holds a NUL byte"
            )
        environment = known.environment | (known.bypass_environment if options.get("skip_permissions", True) else {})
        return Command(
            filled,
            stdin=run.prompt.encode("utf-8", "replace") if known.prompt == "stdin" else None,
            environment={
                **{key: _fill(each, run) for key, each in environment.items() if key not in run.environment},
                **passed,
            },
            spool=known.spool,
            stop=tuple((Signals[f"SIG{name}"], 3.0) for name in known.stop),
        )

    def parser(self, run: Run) -> ProfileParser:
        return ProfileParser(self.profile, run, self._shipped)

    def renderer(self) -> Renderer:
        return ProfileRenderer(self.profile) if self.renders else Plain()


def _fill(word: str, run: Run) -> str:
    values = _given(run)
    return _PLACEHOLDER.sub(lambda found: values[found[1]], word)


def _given(run: Run) -> dict[str, str]:
    return {
        "directory": run.directory,
        "model": str(run.options.get("cli_model") or ""),
        "prompt": as_operand(run.prompt),
        "prompt_file": run.prompt_file,
        "session": run.resume or run.session_id,
        "system_prompt_file": str(run.options.get("system_prompt_file") or ""),
        "workspace": run.workspace,
    }


def _cut(said: str) -> str:
    """Its beginning and its end: an answer may have megabytes."""
    return said if len(said) <= 2 * MOST_SAID else f"{said[:MOST_SAID]}\n{said[-MOST_SAID:]}"


_PLACEHOLDER = re.compile(r"\{(directory|model|prompt|prompt_file|session|system_prompt_file|workspace)\}")


class ProfileParser:
    """Patterns of a profile that is not ours are not searched for where they could take for ever: `wild`."""

    def __init__(self, known: Profile, run: Run, shipped: bool = False) -> None:
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
        patterns = [message.pattern for message in known.messages] + [known.output.success, known.output.failure]
        self.wild = self._words.wild or not (shipped or are_tame(patterns))
        self.watches = self.wild and bool(self._live)
        self._limit: Limited | None = None
        self._result: Result | None = None
        self._patience = Patience(self._words, run.clock, self._zone)

    def look(self, stream: str, printed: str) -> Sequence[Event]:
        """Below its patience it is left alone with what it waits for, above that it is ended."""
        pause = None if self._ndjson and stream == STDOUT else self._patience.look(printed)
        if pause is None or self._limit or self._result:
            return ()
        if pause.wait is None or pause.wait < PATIENCE:
            return (pause.limit,) if pause.limit else ()
        return self._lose_patience(pause)

    def _lose_patience(self, pause: Pause) -> Sequence[Event]:
        if pause.kind in LIMITS:
            until = self._clock() + (pause.wait or 0.0)
            self._limit = Limited(pause.said[:2000], until, kind=LIMITS[pause.kind], guess=True)
            return (self._limit,)
        if pause.kind not in WAITED_FOR:
            return ()
        self._result = Result(False, pause.said, stop=True)
        return (self._result,)

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        events = list(self._take_live(stream, line)) if self._live and not self.wild else []
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
            self._result = Result(_is(item, meaning.ok) and (self.wild or not self._fails(said)), said)
            if not self._result.ok and not self.wild and (limit := self._limit_in(said)) and self._limit is None:
                self._limit = limit
                yield limit
            yield self._result

    def _fails(self, said: str) -> bool:
        return bool(self._known.output.failure and re.search(self._known.output.failure, _cut(said)))

    def live(self, lines: Sequence[tuple[str, bytes]]) -> Sequence[Event]:
        return [event for stream, line in lines for event in self._take_live(stream, line)]

    def note(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Limited):
                self._limit = self._limit or event

    def tame(self) -> None:
        """The messages that are tame stay. What a pattern of success would have told, nothing tells now."""
        messages = [message for message in self._known.messages if is_tame(message.pattern)]
        output = replace(self._known.output, success="", failure="")
        self._known = replace(self._known, messages=messages, output=output)
        self._words, self.wild, self.watches, self._live = self._words.tamed(), False, False, []

    def _usage(self, item: dict[str, Any], meaning: Line) -> Usage:
        told = {name: count(_first(item, path)) for name, path in meaning.usage.items() if name != "cost_usd"}
        if meaning.input_includes_cache:
            told["input"] = max(0, told.get("input", 0) - told.get("cache_read", 0))
        cost = price(_first(item, meaning.usage["cost_usd"])) if "cost_usd" in meaning.usage else None
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
        said = _cut(said)
        for message in self._known.messages:
            found = re.search(message.pattern, said, re.MULTILINE)
            # A status like 400 tells nothing: the words behind it may.
            if found and (message.kind or _kind(found, message) != "other"):
                return found, message
        return None, None

    # ---- the verdict ----

    def verdict(self, ending: Ending) -> Verdict:
        if ending.stopped_by == "post_result" and self._result and not self._result.ok:
            return self._judge_words(self._result.text, ending)
        if stop := endings.stopped(ending, self._limit):
            return stop
        if self._result is not None:
            if self.wild and self._result.ok and self._fails(self._result.text):
                self._result = Result(False, self._result.text)
            return self._judge_result(self._result, ending)
        if said := self._failure_told(ending):
            return self._judge_words(said, ending)
        if ending.exit_code == 0 and self._succeeded(ending):
            return Verdict("ok")
        return self._judge_failure(ending)

    def _judge_result(self, result: Result, ending: Ending) -> Verdict:
        if not result.ok:
            return self._judge_words(result.text, ending)
        if ending.exit_code == 0:
            return Verdict("ok")
        message = f"the agent reported success, but exited with status {ending.exit_code}"
        return endings.signalled(ending) or endings.crashed(ending) or endings.failed(ending, message=message)

    def _failure_told(self, ending: Ending) -> str:
        """For text: the words with which an output ends that is an error's."""
        if self._ndjson or not self._known.output.failure or ending.signal:
            return ""
        found = re.search(rf"(?:{self._known.output.failure})\s*\Z", ending.stdout_tail, re.MULTILINE)
        return found[0] if found else ""

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
            (endings.signalled(ending) if ending.signal and not self._limit else None)
            or self._meant(said)
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
            or failure("other", said or last_line(ending.stderr_tail) or "the agent's last event reports a failure")
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
        self._owed = Owed(self._page)
        self._shown = False

    def feed(self, stream: str, line: bytes) -> str:
        item = record(line) if stream == STDOUT and line.startswith(b"{") else None
        if item is None:
            return self._page.line(clean(decoded(line)))
        return self._owed.before(lambda: self._show_all(item), trouble(item))

    def finish(self) -> str:
        return self._owed.finish()

    def _show_all(self, item: dict[str, Any]) -> str:
        return "".join(self._show(item, meaning) for meaning in self._lines if _is(item, meaning.when))

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
            return self._page.line(f"✗ {one_line(said, 300) or one_line(trouble(item), 300) or 'failed'}")
        answer = "" if self._shown else self._page.line(clean(said))
        return answer + self._page.line("✓ done")
