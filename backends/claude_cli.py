"""Claude Code: `claude -p` with stream-json, the prompt on stdin.

Its command, its parser and the verdict; what its errors mean stands in `claude_errors`, how its lines look to people in
`claude_shown`. Facts it rests on: an exit code of 0 proves nothing (SIGINT mid-answer exits 0), only a `result` event
without an error flag does; API errors are results of subtype "success" with `is_error`; a subscription's limits come as
`rate_limit_event`, an API key's as retries and then a synthetic assistant message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from signal import Signals
from typing import Any

from backends import endings, evidence
from backends.base import (
    FIRST_BYTE_SECONDS,
    LINE_CAP,
    STDOUT,
    Command,
    Ending,
    Event,
    Limited,
    Result,
    Run,
    Session,
    Usage,
    Verdict,
    encoded,
)
from backends.claude_errors import Facts, complains_of, complaint, facts_of, kind_of, usage_error
from backends.claude_shown import ClaudeRenderer
from backends.failures import LIMITS, failure, limited
from backends.records import count, decoded, items, number, parse, price, section, text, texts
from backends.resets import clamp, limit_said, limit_until, zone_of

#: Characters of what it says instead of an answer, in text mode.
LONGEST_SAYING = 200
#: It refuses more on stdin.
LARGEST_PROMPT = 10_000_000
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
        argv += _budget(run.options, extra)
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


def _budget(options: Mapping[str, Any], extra: list[str]) -> list[str]:
    """What its job may still cost: it stops after the turn that goes beyond."""
    left = options.get("cost_left_usd")
    if left is None or any(word.split("=")[0] == "--max-budget-usd" for word in extra):
        return []
    return ["--max-budget-usd", f"{max(0.0001, math.ceil(left * 1e4) / 1e4):.4f}"]


def _system_prompt(run: Run) -> list[str]:
    if run.system_prompt is None:
        return []
    # Not its text: every user of the machine may read arguments.
    return ["--system-prompt-file", str(run.options["system_prompt_file"])]


def _prompt(prompt: str) -> bytes:
    # A first line that begins with a slash is taken for one of its commands and never reaches the model.
    return encoded("\n" + prompt if prompt.lstrip().startswith("/") else prompt, "claude", LARGEST_PROMPT)


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
        self._words = evidence.limit_words(run.options)
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
        self._retry = f"retrying ({error or status or 'network'}, attempt {item.get('attempt')})"
        wait = (number(item.get("retry_delay_ms")) or 0.0) / 1000
        limit = error == "rate_limit" or status == 429
        if limit and wait < PATIENCE:
            return (Limited(self._retry, retry_after=wait, patient=True),)
        if wait < PATIENCE or not (limit or error == "overloaded" or status == 529):
            return ()
        return self._take_limit(Limited(self._retry, retry_after=wait, kind="requests" if limit else "overloaded"))

    def _take_error(self, item: dict[str, Any]) -> Sequence[Event]:
        if not (error := text(item.get("error"))):
            return ()  # the model's words
        self._error = error
        said = "".join(text(block.get("text")) for block in items(section(item, "message").get("content")))
        return self._take_limit(self._limit_of(Facts(said, self._error)))

    def _take_result(self, item: dict[str, Any]) -> Sequence[Event]:
        self._result = item
        ok = item.get("is_error") is False and item.get("subtype") == "success"
        said = text(item.get("result")) or "; ".join(texts(item.get("errors")))
        limit = () if ok else self._take_limit(self._limit_of(facts_of(item, self._error)))
        return (*limit, self._usage(item), Result(ok, said))

    def _usage(self, result: dict[str, Any]) -> Usage:
        """An interrupted run's result says nothing of the tokens it had already taken."""
        told, counted = _usage(result), self._tally.total()
        if told.input or told.output or not counted.input:
            return told
        return replace(counted, cost_usd=told.cost_usd or None)

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

    def _limit_of(self, facts: Facts) -> Limited | None:
        kind = kind_of(facts)
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
            message = "the agent took the prompt for one of its own commands and never asked the model"
            return Verdict("failed", "E301", message, "begin the prompt with a word", text(result.get("result"))[:2000])
        if ending.exit_code == 0:
            return Verdict("ok")
        if ending.exit_code == 1:
            return endings.with_issues(ending)
        message = f"the agent reported success, but exited with status {ending.exit_code}"
        return endings.signalled(ending) or endings.crashed(ending) or endings.failed(ending, message=message)

    def _failure(self, result: dict[str, Any]) -> Verdict:
        facts = facts_of(result, self._error)
        kind = kind_of(facts)
        if self._limit and kind in (*LIMITS, "other"):
            return limited(self._limit)
        hint = "run `claude /login`, or set ANTHROPIC_API_KEY where the daemon runs" if kind == "auth" else ""
        return failure(kind, complaint(facts), self._limit_of(facts), hint)

    def _judge_silence(self, ending: Ending) -> Verdict:
        """No result: text mode never has one; otherwise it died early, or what it said was cut off."""
        if self._text_only:
            return self._judge_text(ending)
        if ending.exit_code == 0:
            return endings.truncated(ending)
        return usage_error(ending)

    def _judge_text(self, ending: Ending) -> Verdict:
        said = ending.stdout_tail.strip()
        if ending.exit_code == 0:
            # Interrupted, it exits with 0 and prints nothing.
            return Verdict("ok") if said else endings.truncated(ending)
        kind = kind_of(Facts(said)) if said else "other"
        if kind == "other":
            # An answer that speaks of limits is longer, or begins otherwise.
            short = said if len(said) <= LONGEST_SAYING else ""
            if found := evidence.opens_with_limit(short, ending.now, self._words, self._zone):
                return found
            found = evidence.judge(ending.stderr_tail, ending.now, self._words, self._zone)
            if found and found.limit:
                return found
            return endings.with_issues(ending) if _is_answered(said, ending) else usage_error(ending)
        found = self._failure({"result": said, "is_error": True, "subtype": "success"})
        return replace(found, limit=replace(found.limit, guess=True)) if found.limit else found


def _is_answered(said: str, ending: Ending) -> bool:
    """In text mode an error is told on stdout, too: an answer is what is neither known for one nor begins like one."""
    complains = re.match(r"(?:API |Execution )?Error\b", said, re.IGNORECASE) or complains_of(ending.stderr_tail)
    return ending.exit_code == 1 and bool(said) and not complains


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
    cost = price(result.get("total_cost_usd"))
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


BACKEND = ClaudeBackend()
