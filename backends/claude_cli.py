"""Claude Code: `claude -p` with stream-json, the prompt on stdin.

Command, parser, verdict and renderer in one place, because they share what is known of its events. Facts it rests on:
an exit code of 0 proves nothing (SIGINT mid-answer exits 0), only a `result` event without an error flag does; API errors
are results of subtype "success" with `is_error`; a subscription's limits come as `rate_limit_event`, an API key's as
retries and then a synthetic assistant message.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from signal import Signals
from typing import Any, NamedTuple

from backends import endings
from backends.base import (
    FIRST_BYTE_SECONDS,
    LINE_CAP,
    STDERR,
    STDOUT,
    Command,
    Ending,
    Event,
    Limited,
    PromptTooLongError,
    Result,
    Run,
    Session,
    Usage,
    Verdict,
)
from backends.failures import LIMITS, by_status, failure, limited
from backends.records import count, decoded, items, last_line, number, parse, section, text, texts
from backends.rendering import Page, call, clean, one_line
from backends.resets import clamp, limit_said, limit_until, zone_of

#: It refuses more on stdin.
LARGEST_PROMPT = 10_000_000
#: An argument longer than this does not exec; the rest of the command line needs little.
LONGEST_SYSTEM_PROMPT = 120_000
#: Seconds. A wait its own retry announces above this is a limit for Mozart to hold, below it is left to the program.
PATIENCE = 10.0

_ENVIRONMENT = {
    # By default it retries for three minutes before it says a word; two retries pass over a hiccup.
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "DISABLE_AUTOUPDATER": "1",
}
_SESSION_OPTIONS = frozenset({"--session-id", "--resume", "-r", "--continue", "-c"})


class ClaudeBackend:
    name = "claude_cli"
    renders = True
    resumes = True

    def command(self, run: Run) -> Command:
        extra = [str(word) for word in run.options.get("cli_extra_args") or ()]
        argv = ["claude", "-p", *_output(run.options), *_session(run, extra), *_permissions(run.options)]
        if model := run.options.get("cli_model"):
            argv += ["--model", str(model)]
        if run.options.get("disable_mcp", True):
            # Not `--setting-sources ""` as well: that would also drop CLAUDE.md, the login helper, proxies and
            # permissions a user has set up, and an agent in Mozart would no longer be the one they know. Who wants that
            # says so in cli_extra_args.
            argv.append("--strict-mcp-config")
        argv += _system_prompt(run)
        return Command(
            argv + extra,
            stdin=_prompt(run.prompt),
            environment=_environment(run),
            # It exits with unflushed output when a pipe is full: a 2 MB answer loses its end, and the result with it.
            spool=True,
            first_byte_seconds=FIRST_BYTE_SECONDS if _effective_format(run.options) == "stream-json" else None,
            # INT makes it end its tools and write its result; TERM leaves the tools running.
            stop=((Signals.SIGINT, 3.0), (Signals.SIGTERM, 2.0)),
        )

    def parser(self, run: Run) -> ClaudeParser:
        return ClaudeParser(run)

    def renderer(self) -> ClaudeRenderer:
        return ClaudeRenderer()


def _output(options: Mapping[str, Any]) -> list[str]:
    form = options.get("output_format") or "stream-json"
    words = ["--output-format", form]
    return [*words, "--verbose", "--include-partial-messages"] if form == "stream-json" else words


def _session(run: Run, extra: list[str]) -> list[str]:
    if any(word.split("=")[0] in _SESSION_OPTIONS for word in extra):
        return []
    return ["--resume", run.resume] if run.resume else ["--session-id", run.session_id]


def _permissions(options: Mapping[str, Any]) -> list[str]:
    """`allowed_tools` is a limit, not a hint: with the bypass alone it would allow what it does not name."""
    bypass = bool(options.get("skip_permissions", True))
    allowed = options.get("allowed_tools")
    if allowed is None:
        return ["--permission-mode", "bypassPermissions"] if bypass else []
    rules = [str(rule) for rule in allowed]
    names = dict.fromkeys(rule.split("(")[0] for rule in rules if not rule.startswith("mcp__"))
    words = ["--tools", ",".join(names), *(["--allowedTools", ",".join(rules)] if rules else [])]
    if not bypass:
        return words
    # dontAsk refuses whatever no rule allows, which the bypass would not: needed when a rule is narrower than its tool.
    narrow = any("(" in rule for rule in rules) or not options.get("disable_mcp", True)
    return [*words, "--permission-mode", "dontAsk" if narrow else "bypassPermissions"]


def _system_prompt(run: Run) -> list[str]:
    if run.system_prompt is None:
        return []
    if len(run.system_prompt.encode("utf-8", "replace")) > LONGEST_SYSTEM_PROMPT:
        return ["--system-prompt-file", str(run.options["system_prompt_file"])]
    return ["--system-prompt", run.system_prompt]


def _prompt(prompt: str) -> bytes:
    if not prompt.strip():
        raise ValueError("cannot start claude with an empty prompt")
    # A first line that begins with a slash is taken for one of its commands and never reaches the model.
    data = ("\n" + prompt if prompt.lstrip().startswith("/") else prompt).encode("utf-8", "replace")
    if len(data) > LARGEST_PROMPT:
        raise PromptTooLongError(f"cannot send claude a prompt of {len(data):,} bytes: it takes {LARGEST_PROMPT:,}")
    return data


def _environment(run: Run) -> dict[str, str]:
    """Only what nobody has set: a score's `backend.env` is right."""
    wanted = dict(_ENVIRONMENT)
    if run.is_root and run.options.get("skip_permissions", True):
        # As root it refuses the bypass unless it is told that this is a sandbox, which is what its user said.
        wanted["IS_SANDBOX"] = "1"
    return {name: value for name, value in wanted.items() if name not in run.environment}


# ---- lines to events ------------------------------------------------------------------------------------------------

#: Nine lines of ten are pieces of text.
_PIECE = b'{"type":"stream_event","event":{"type":"content_block_'
_MATTERS = (
    b'{"type":"stream_event","event":{"type":"message_',
    b'{"type":"assistant"',
    b'{"type":"result"',
    b'{"type":"rate_limit_event"',
    b'{"type":"system","subtype":"init"',
    b'{"type":"system","subtype":"api_retry"',
)
#: A JSON string cannot hold these bytes unescaped, so only a message with an error has them.
_ERROR_KEY = b'"error":"'


class ClaudeParser:
    def __init__(self, run: Run) -> None:
        self._text_only = _effective_format(run.options) == "text"
        self.wants = frozenset() if self._text_only else frozenset({STDOUT})
        self._clock = run.clock
        self._zone = zone_of(run.environment)
        self._result: dict[str, Any] | None = None
        self._error = ""
        self._limit: Limited | None = None
        self._retry = ""
        self._tally = _Tally()

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        if line.startswith(_PIECE):
            return ()
        if not line.startswith(_MATTERS):
            known = line.startswith(b'{"type":"') or not line.startswith((b"{", b"["))
            return () if known else self._feed_unusual(line)
        if line.startswith(b'{"type":"assistant"') and _ERROR_KEY not in line:
            return ()
        value = parse(line)
        if isinstance(value, dict):
            return self._take(value)
        return self._take_cut_result(line) if len(line) >= LINE_CAP else ()

    def _feed_unusual(self, line: bytes) -> Sequence[Event]:
        """One object laid out otherwise, or `json --verbose`: everything in one array."""
        if b'"type"' not in line:
            return ()
        value = parse(line)
        return [event for item in items(value if isinstance(value, list) else [value]) for event in self._take(item)]

    def _take(self, item: dict[str, Any]) -> Sequence[Event]:
        match item.get("type"), item.get("subtype"):
            case "system", "init":
                model = text(item.get("model"))
                return (Session(text(item.get("session_id")), model or None),)
            case "system", "api_retry":
                return self._take_retry(item)
            case "rate_limit_event", _:
                return self._take_limit(_limit_of_event(item, self._clock()))
            case "stream_event", _:
                usage = self._tally.take(item)
                return (usage,) if usage else ()
            case "assistant", _:
                return self._take_error(item)
            case "result", _:
                return self._take_result(item)
        return ()

    def _take_retry(self, item: dict[str, Any]) -> Sequence[Event]:
        error, status = text(item.get("error")), item.get("error_status")
        self._retry = f"it was retrying ({error or status or 'network'}, attempt {item.get('attempt')})"
        wait = (number(item.get("retry_delay_ms")) or 0.0) / 1000
        limit = error == "rate_limit" or status == 429
        if wait < PATIENCE or not (limit or error == "overloaded" or status == 529):
            return ()
        return self._take_limit(Limited(self._retry, retry_after=wait, kind="requests" if limit else "overloaded"))

    def _take_error(self, item: dict[str, Any]) -> Sequence[Event]:
        self._error = text(item.get("error"))
        said = "".join(text(block.get("text")) for block in items(section(item, "message").get("content")))
        return self._take_limit(self._limit_of(_Facts(said, self._error)))

    def _take_result(self, item: dict[str, Any]) -> Sequence[Event]:
        self._result = item
        ok = item.get("is_error") is False and item.get("subtype") == "success"
        said = text(item.get("result")) or "; ".join(texts(item.get("errors")))
        limit = () if ok else self._take_limit(self._limit_of(_facts(item, self._error)))
        return (*limit, self._usage(item), Result(ok, said))

    def _usage(self, result: dict[str, Any]) -> Usage:
        """An interrupted run's result says nothing of the tokens it had already taken."""
        told, counted = _usage(result), self._tally.total()
        return told if told.input or told.output or not counted.input else counted

    def _take_cut_result(self, line: bytes) -> Sequence[Event]:
        """A result too long to be had whole: its head tells how it ended."""
        if not (found := re.match(rb'\{"type":"result","subtype":"(\w+)","is_error":(true|false),', line)):
            return ()
        self._result = {"subtype": decoded(found[1]), "is_error": found[2] == b"true", "num_turns": 1}
        return (Result(found[2] == b"false" and found[1] == b"success"),)

    def _take_limit(self, limit: Limited | None) -> Sequence[Event]:
        """Told once, and again when it is known until when."""
        if limit is None or (self._limit and (self._limit.until or not limit.until)):
            return ()
        self._limit = limit
        return (limit,)

    def _limit_of(self, facts: _Facts) -> Limited | None:
        kind = _kind(facts)
        if kind not in LIMITS:
            return None
        return limit_said(facts.said, LIMITS[kind], self._clock(), self._zone)

    # ---- the verdict ----

    def verdict(self, ending: Ending) -> Verdict:
        if ending.stopped_by == "post_result" and self._result and self._result.get("is_error"):
            return self._failure(self._result)
        if stop := endings.stopped(ending, self._limit, self._retry):
            return stop
        if self._result is not None:
            return self._judge(self._result, ending)
        if self._limit is not None:
            return limited(self._limit)
        return endings.signalled(ending) or endings.crashed(ending) or self._judge_silence(ending)

    def _judge(self, result: dict[str, Any], ending: Ending) -> Verdict:
        if result.get("is_error") is not False or result.get("subtype") != "success":
            return self._failure(result)
        if result.get("num_turns") == 0:
            message = "it took the prompt for one of its own commands and never asked the model"
            return Verdict("failed", "E301", message, "begin the prompt with a word", text(result.get("result"))[:2000])
        if ending.exit_code == 0:
            return Verdict("ok")
        message = f"it reported success but exited with {ending.exit_code}"
        return endings.signalled(ending) or endings.crashed(ending) or endings.failed(ending, message=message)

    def _failure(self, result: dict[str, Any]) -> Verdict:
        facts = _facts(result, self._error)
        kind = _kind(facts)
        if self._limit and kind in (*LIMITS, "other"):
            return limited(self._limit)
        hint = "run `claude /login`, or set ANTHROPIC_API_KEY where the daemon runs" if kind == "auth" else ""
        return failure(kind, _complaint(facts), self._limit_of(facts), hint)

    def _judge_silence(self, ending: Ending) -> Verdict:
        """No result: text mode never has one; otherwise it died early, or what it said was cut off."""
        if self._text_only:
            return self._judge_text(ending)
        if ending.exit_code == 0:
            return endings.truncated(ending)
        return _usage_error(ending)

    def _judge_text(self, ending: Ending) -> Verdict:
        said = ending.stdout_tail.strip()
        if ending.exit_code == 0:
            # Interrupted, it exits with 0 and prints nothing.
            return Verdict("ok") if said else endings.truncated(ending)
        kind = _kind(_Facts(said)) if said else "other"
        if kind == "other":
            return _usage_error(ending)
        return self._failure({"result": said, "is_error": True, "subtype": "success"})


def _effective_format(options: Mapping[str, Any]) -> str:
    """What the last word on the command line makes of `--output-format`."""
    extra = [str(word) for word in options.get("cli_extra_args") or ()]
    found = str(options.get("output_format") or "stream-json")
    for word, following in pairwise([*extra, ""]):
        if word == "--output-format":
            found = following
        elif word.startswith("--output-format="):
            found = word.partition("=")[2]
    return found


class _Tally:
    """Tokens of the messages so far, for attempts that never get to their result. Subagents stream side by side."""

    def __init__(self) -> None:
        self._closed = [0, 0, 0, 0]
        self._open: dict[Any, list[int]] = {}

    def take(self, item: dict[str, Any]) -> Usage | None:
        event, parent = section(item, "event"), text(item.get("parent_tool_use_id"))
        if event.get("type") == "message_start":
            self._close(parent)
            self._open[parent] = _counts(section(event, "message", "usage"))
        elif event.get("type") == "message_delta" and parent in self._open:
            self._open[parent][1] = count(section(event, "usage").get("output_tokens"))
        else:
            return None
        return self.total()

    def total(self) -> Usage:
        return Usage(*map(sum, zip(self._closed, *self._open.values(), strict=True)))

    def _close(self, parent: str) -> None:
        for index, tokens in enumerate(self._open.pop(parent, ())):
            self._closed[index] += tokens


def _counts(usage: dict[str, Any]) -> list[int]:
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return [count(usage.get(name)) for name in names]


def _usage(result: dict[str, Any]) -> Usage:
    """`modelUsage` counts every request; `usage` leaves out those that were asked again without streaming."""
    cost = number(result.get("total_cost_usd"))
    models = [model for model in section(result, "modelUsage").values() if isinstance(model, dict)]
    if not models:
        fresh, answered, read, written = _counts(section(result, "usage"))
    else:
        names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
        fresh, answered, read, written = (sum(count(model.get(name)) for model in models) for name in names)
    return Usage(fresh, answered, read, written, cost)


def _limit_of_event(item: dict[str, Any], now: float) -> Limited | None:
    """Positive evidence only: rejected, and no paid overage that lets it go on."""
    info = section(item, "rate_limit_info")
    if info.get("status") != "rejected" or info.get("isUsingOverage") or info.get("overageStatus") in _OVERAGE:
        return None
    at, kind = number(info.get("resetsAt")), text(info.get("rateLimitType"))
    evidence = f"rate_limit_event: {kind or 'requests'} rejected"
    return limit_until(evidence, kind or "requests", clamp(at, now) if at else None)


_OVERAGE = frozenset({"allowed", "allowed_warning"})


# ---- what its errors mean -------------------------------------------------------------------------------------------


class _Facts(NamedTuple):
    """What an error record says, wherever it came from."""

    said: str
    error: str = ""
    status: int | None = None
    subtype: str = ""
    terminal: str = ""
    stop: str = ""


def _facts(result: dict[str, Any], error: str) -> _Facts:
    said = text(result.get("result")) or "; ".join(texts(result.get("errors")))
    status = number(result.get("api_error_status"))
    return _Facts(said, error, int(status) if status else None, *(text(result.get(name)) for name in _WORDS_OF_RESULT))


def _complaint(facts: _Facts) -> str:
    """What to quote: an interrupted run's message is a diagnostic that means nothing to people."""
    return (facts.terminal if facts.terminal.startswith("aborted") else facts.said) or facts.terminal or facts.subtype


_WORDS_OF_RESULT = ("subtype", "terminal_reason", "stop_reason")


_SUBTYPES = {
    "error_max_turns": "capped",
    "error_max_budget_usd": "capped",
    "error_max_structured_output_retries": "schema",
}
_TERMINALS = {
    "prompt_too_long": "long",
    "image_error": "long",
    "aborted_streaming": "interrupted",
    "aborted_tools": "interrupted",
}
_ERRORS = {
    "authentication_failed": "auth", "oauth_org_not_allowed": "auth", "billing_error": "billing",
    "model_not_found": "model", "max_output_tokens": "output", "overloaded": "overloaded",
}  # fmt: skip
#: How its own messages begin. Looked at in error records only, and only from their first letter on.
_SAYINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"You['’]ve (?:hit|reached) your .{0,40}limit", "quota"),
        (r"You['’]re out of .{0,20}usage", "quota"),
        (r"Claude (?:AI )?usage limit reached|.{0,40}\blimit reached\b.{0,20}\bresets\b", "quota"),
        (r"Credit balance is too low", "billing"),
        (r"Invalid API key|Not logged in|Failed to authenticate|.{0,80}\brun /login", "auth"),
        (r"Your \w+ belongs to a disabled organization", "auth"),
        (r"There's an issue with the selected model", "model"),
        (r"Prompt is too long", "long"),
        (r"Error: (?:Reached max turns|Exceeded USD budget)|Reached maximum (?:number of turns|budget)", "capped"),
        (r"No conversation found with session ID", "no_session"),
        (r"API Error: Claude Code is unable to respond|API Error: .{0,60}violate our Usage Policy", "refused"),
        (r"API Error: Claude's response exceeded the \d+ output token", "output"),
        (r"API Error: (?:Request rejected \(429\)|Server is temporarily limiting requests)", "limit"),
        (r"API Error: .{0,80}(?:\bcertificate|\bSSL\b|\bTLS\b|CERT_)", "tls"),
        (r"API Error: Unable to connect to API \((?:FailedToOpenSocket|ENOTFOUND|EAI_AGAIN)", "dns"),
        (r"API Error: (?:Unable to connect|Connection error)", "unreachable"),
        (r"(?:API Error: )?Request timed out", "timeout"),
        (r"API Error: API returned an empty or malformed response", "bad_response"),
        (r"API Error: 529|API Error: .{0,40}overloaded", "overloaded"),
    )
)


def _kind(facts: _Facts) -> str:
    """Which of `_FAILURES` it is: its own words for it first, then the status, then how the message begins."""
    kind = _SUBTYPES.get(facts.subtype) or _TERMINALS.get(facts.terminal) or _ERRORS.get(facts.error)
    if kind:
        return kind
    if facts.stop == "refusal":
        return "refused"
    begins = next((kind for pattern, kind in _SAYINGS if pattern.match(facts.said)), "")
    if facts.error == "rate_limit" and begins != "quota":
        return "limit"
    status = facts.status or _status_in(facts.said)
    return begins or by_status(status)


def _status_in(said: str) -> int | None:
    found = re.match(r"API Error: (\d{3})\b", said)
    return int(found[1]) if found else None


_COMPLAINTS = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"No conversation found with session ID|Session ID .* is already in use", "no_session"),
        (r"\bMCP config", "mcp"),
        (r"requires --|only works with --|Error parsing streaming input", "mode"),
        (r"^error: |^Error: .*(?:option|argument|must be|Invalid)|\bcannot be used with\b", "configuration"),
        (r"^Error: Input must be provided", "configuration"),
    )
)


def _usage_error(ending: Ending) -> Verdict:
    """It would not even start: one line on stderr."""
    line = last_line(ending.stderr_tail)
    kind = next((kind for pattern, kind in _COMPLAINTS if pattern.search(line)), "")
    return failure(kind, line) if kind else endings.conventional(ending, "claude") or endings.failed(ending)


# ---- for people -----------------------------------------------------------------------------------------------------

#: Which of a tool's arguments tells most.
_TELLING = (
    "command",
    "file_path",
    "notebook_path",
    "path",
    "pattern",
    "query",
    "url",
    "description",
    "skill",
    "prompt",
)


class ClaudeRenderer:
    """Text as it is generated, one line for each tool call, what went wrong, and how it ended."""

    def __init__(self) -> None:
        self._page = Page()
        self._answered = False
        self._message = ""
        self._streamed = ""
        """What of the open block has been shown and no full message has confirmed."""

    def feed(self, stream: str, line: bytes) -> str:
        if stream == STDERR or line[:1] not in (b"{", b"["):
            return self._page.line(clean(decoded(line)))
        value = parse(line)
        if isinstance(value, list):
            return "".join(self._show(item) for item in items(value))
        if not isinstance(value, dict) or "type" not in value:
            return self._page.line(clean(decoded(line)))
        return self._show(value)

    def finish(self) -> str:
        return self._page.fresh()

    def _show(self, item: dict[str, Any]) -> str:
        match item.get("type"):
            case "stream_event":
                return self._show_delta(item)
            case "assistant":
                return self._show_message(item)
            case "user":
                return self._show_answers(item)
            case "system":
                return self._show_system(item)
            case "rate_limit_event":
                return self._show_limit(section(item, "rate_limit_info"))
            case "result":
                return self._show_result(item)
        return ""

    def _show_delta(self, item: dict[str, Any]) -> str:
        if item.get("parent_tool_use_id"):
            # Subagents write side by side: their messages are shown when they are whole.
            return ""
        event = section(item, "event")
        if event.get("type") == "message_start":
            void = self._void()
            self._message = text(section(event, "message").get("id"))
            return void
        words = clean(section(event, "delta").get("text"))
        self._streamed += words
        self._answered = True
        return self._page.stream(words)

    def _void(self) -> str:
        """The stream broke and the answer is asked for again: what was shown of it does not count."""
        if not self._streamed:
            return ""
        self._streamed = ""
        return self._page.line(" [the answer broke off and starts again]") if self._page.midline else ""

    def _show_message(self, item: dict[str, Any]) -> str:
        indent = "  " if item.get("parent_tool_use_id") else ""
        message = section(item, "message")
        shown = ""
        if item.get("error"):
            # Not the model's words; the result says them again.
            return self._void()
        self._answered = True
        if not indent and text(message.get("id")) != self._message:
            shown, self._message = self._void(), text(message.get("id"))
        for block in items(message.get("content")):
            if block.get("type") == "text":
                shown += self._show_text(indent, clean(block.get("text")))
            elif block.get("type") == "tool_use":
                shown += self._page.line(
                    f"{indent}→ {call(clean(block.get('name')), section(block, 'input'), _TELLING)}"
                )
        return shown

    def _show_text(self, indent: str, words: str) -> str:
        if not indent and self._streamed:
            self._streamed = ""
            return self._page.fresh()
        if not words.strip():
            return ""
        return self._page.line(indent + words.replace("\n", "\n" + indent))

    def _show_answers(self, item: dict[str, Any]) -> str:
        indent = "    " if item.get("parent_tool_use_id") else "  "
        answers = items(section(item, "message").get("content"))
        failed = (answer for answer in answers if answer.get("type") == "tool_result" and answer.get("is_error"))
        return "".join(self._page.line(f"{indent}✗ {one_line(_said(answer))}") for answer in failed)

    def _show_system(self, item: dict[str, Any]) -> str:
        match item.get("subtype"):
            case "api_retry":
                wait = (number(item.get("retry_delay_ms")) or 0.0) / 1000
                why = clean(item.get("error")) or "network"
                of = f"{item.get('attempt')} of {item.get('max_retries')}"
                return self._page.line(f"… {why}: trying again in {wait:.1f} s ({of})")
            case "model_fallback":
                return self._page.line(f"… falling back to {clean(item.get('fallback_model'))}")
            case "compact_boundary":
                return self._page.line("… the conversation was compacted")
        return ""

    def _show_limit(self, info: dict[str, Any]) -> str:
        name = clean(info.get("rateLimitType")) or "request"
        if info.get("status") == "allowed_warning":
            return self._page.line(
                f"… {(number(info.get('utilization')) or 0) * 100:.0f} % of the {name} limit is used"
            )
        if info.get("status") != "rejected" or info.get("isUsingOverage"):
            return ""
        at = number(info.get("resetsAt"))
        when = f", resets {_local(at)}" if at else ""
        return self._page.line(f"✗ the {name} limit is reached{when}")

    def _show_result(self, item: dict[str, Any]) -> str:
        turns = count(item.get("num_turns"))
        facts = [
            f"{turns} turn" if turns == 1 else f"{turns} turns",
            f"{(number(item.get('duration_ms')) or 0.0) / 1000:.1f} s",
            f"${number(item.get('total_cost_usd')) or 0.0:.4f}",
        ]
        if item.get("is_error") is not False:
            return self._page.line(f"✗ {one_line(_complaint(_facts(item, '')), 300)} · " + " · ".join(facts))
        # With `--output-format json` the answer stands nowhere else.
        answer = "" if self._answered else self._show_text("", clean(item.get("result")))
        return answer + self._page.line("✓ done · " + " · ".join(facts))


def _said(answer: dict[str, Any]) -> str:
    content = answer.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(text(block.get("text")) for block in items(content))


def _local(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(at))
    except (ValueError, OverflowError, OSError):
        return f"at {at:.0f}"


BACKEND = ClaudeBackend()
