"""OpenCode: `opencode run --format json`, the prompt on stdin.

It has neither a first nor a last event: the session's id is on every line, and it is done when a step finishes with the
reason `stop`. Its errors are the best structured of all, but while it retries it says nothing except in its log on stderr,
which is therefore asked for and read: each try, and what it failed of. A long retry-after it sleeps through and names nowhere;
that shows in the try that does not come. A stream that ends without a reason makes it ask again for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
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
    Result,
    Run,
    Session,
    Usage,
    Verdict,
    Waiting,
    encoded,
)
from backends.failures import LIMITS, Sayings, by_status, failure, limited
from backends.records import count, decoded, last_line, number, price, record, section, text, usual
from backends.rendering import Records, call, clean, one_line, trouble
from backends.resets import from_header, limit_said, limit_until, zone_of

#: Steps in a row that end for no reason, and tries in a row that fail, before it is believed that they go on like that.
UNKNOWN_STEPS, FAILED_TRIES = 3, 3
#: Seconds. Before its first retry, doubled for the next; and a wait that is so much longer is a limit's.
FIRST_BACKOFF, PATIENCE = 2.0, 10.0
#: Bytes of the answer's lines kept for `Result.text`.
ANSWER_KEPT = 1 << 20


class OpenCodeBackend:
    name = "opencode_cli"
    renders = True
    resumes = True

    def command(self, run: Run) -> Command:
        argv = ["opencode", "run", "--print-logs", "--log-level", "INFO"]
        if run.options.get("output_format") != "text":
            argv += ["--format", "json"]
        if model := run.options.get("cli_model"):
            argv += ["-m", str(model)]
        if run.options.get("skip_permissions", True):
            argv.append("--auto")
        if run.resume:
            argv += ["-s", run.resume]
        argv += [str(word) for word in run.options.get("cli_extra_args") or ()]
        return Command(
            argv,
            stdin=encoded(run.prompt, "opencode"),
            environment=_environment(run),
            # It exits with unflushed output when the reader of a pipe is slow.
            spool=True,
            stop=((Signals.SIGINT, 3.0), (Signals.SIGTERM, 2.0)),
            # After it has compacted a conversation it goes on by itself.
            post_result_seconds=60.0,
        )

    def parser(self, run: Run) -> OpenCodeParser:
        return OpenCodeParser(run)

    def renderer(self) -> OpenCodeRenderer:
        return OpenCodeRenderer()


def _environment(run: Run) -> dict[str, str]:
    wanted = {"OPENCODE_DISABLE_AUTOUPDATE": "1"}
    if run.options.get("disable_mcp", True):
        # The one switch that works. It drops the project's AGENTS.md as well: who needs that sets disable_mcp to false.
        wanted["OPENCODE_DISABLE_PROJECT_CONFIG"] = "1"
    wanted = {name: value for name, value in wanted.items() if name not in run.environment}
    if run.system_prompt is not None:
        wanted["OPENCODE_CONFIG_CONTENT"] = _with_system_prompt(run)
    return wanted


def _with_system_prompt(run: Run) -> str:
    """The configuration its user passes in the environment (providers, as a rule), and in it our prompt."""
    try:
        config = json.loads(run.environment.get("OPENCODE_CONFIG_CONTENT") or "{}")
        config.setdefault("agent", {}).setdefault("build", {})["prompt"] = run.system_prompt
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError("cannot add a system prompt: OPENCODE_CONFIG_CONTENT is not a JSON object") from error
    return json.dumps(config)


# ---- lines to events ------------------------------------------------------------------------------------------------

_TEXT = b'{"type":"text"'
_TOOL_USE = b'{"type":"tool_use"'
_REJECTED = b'"error":"The user rejected permission'
_MATTERS = (b'{"type":"step_start"', b'{"type":"step_finish"', b'{"type":"error"')
_STREAM, _ASIDE = b" message=stream ", b" small=true "
#: From `level=ERROR ` on.
_TRY = re.compile(rb'error\.error="(?:\w+Error: )?(?P<said>(?:[^"\\]|\\.)*)"')


def _try_in(line: bytes) -> re.Match[bytes] | None:
    begin = line.find(b"level=ERROR ")
    return _TRY.search(line, begin) if begin >= 0 else None


class OpenCodeParser:
    def __init__(self, run: Run) -> None:
        self._text_only = run.options.get("output_format") == "text"
        self.wants = frozenset({STDERR} if self._text_only else {STDOUT, STDERR})
        self._model = str(run.options.get("cli_model") or "") or None
        self._clock = run.clock
        self._zone = zone_of(run.environment)
        self._answer: list[bytes] = []
        self._kept = 0
        self._begun = False
        self._usage = Usage(cost_usd=0.0)
        self._reason = ""
        self._unknown_steps = 0
        self._rejected = b""
        self._error: dict[str, Any] | None = None
        self._tries: list[str] = []
        """What the failed tries since the last sign of progress said."""
        self._tells_tries = False
        """Its log has said when it asks: then it is known when it does not."""
        self._given_up = ""
        self._limit: Limited | None = None

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        if stream == STDERR:
            return self._take_log(line)
        line = usual(line)
        if line.startswith(_TEXT):
            if self._kept < ANSWER_KEPT:
                self._answer.append(line)
                self._kept += len(line)
            return ()
        if line.startswith(_TOOL_USE):
            # What was said before a tool's result is not the answer.
            self._answer, self._kept, self._tries = [], 0, []
            if _REJECTED in line:
                self._rejected = line
            return ()
        if not line.startswith(_MATTERS) or (item := record(line)) is None:
            return ()
        return (*self._take_session(item), *self._take(item))

    def _take_session(self, item: dict[str, Any]) -> Sequence[Event]:
        if self._begun or not item.get("sessionID"):
            return ()
        self._begun = True
        return (Session(text(item["sessionID"]), self._model),)

    def _take(self, item: dict[str, Any]) -> Sequence[Event]:
        if item["type"] == "step_finish":
            return self._take_step(section(item, "part"))
        if item["type"] == "error":
            return self._take_error(section(item, "error"))
        self._tries = []
        return ()

    def _take_step(self, part: dict[str, Any]) -> Sequence[Event]:
        self._tries, self._reason = [], text(part.get("reason"))
        self._usage = _sum(self._usage, section(part, "tokens"), number(part.get("cost")))
        self._unknown_steps = self._unknown_steps + 1 if self._reason == "unknown" else 0
        if self._reason == "stop":
            said = "".join(text(section(record(line), "part").get("text")) for line in self._answer)
            return (self._usage, Result(True, said))
        if self._unknown_steps == UNKNOWN_STEPS:
            self._given_up = "three steps in a row ended without a reason"
            return (self._usage, Result(False, self._given_up, stop=True))
        return (self._usage,)

    def _take_error(self, error: dict[str, Any]) -> Sequence[Event]:
        # Some errors are printed twice.
        again, self._error = self._error is not None, error
        if again:
            return ()
        kind = _kind_of(error, self._reason)
        limit = self._limit_of(error, kind) if kind in LIMITS else None
        self._limit = limit or self._limit
        return (*((limit,) if limit else ()), Result(False, _said(error)))

    def _limit_of(self, error: dict[str, Any], kind: str) -> Limited:
        headers = {name.lower(): value for name, value in section(error, "data", "responseHeaders").items()}
        thousandths = text(headers.get("retry-after-ms"))
        header = f"{float(thousandths) / 1000:f}" if thousandths.isdecimal() else text(headers.get("retry-after"))
        if reset := from_header(header, self._clock()):
            return limit_until(_said(error), LIMITS[kind], reset)
        return limit_said(_said(error), LIMITS[kind], self._clock(), self._zone)

    def _take_log(self, line: bytes) -> Sequence[Event]:
        head = line[:400]
        # What it asks beside, for a title, is not what the attempt waits for.
        if _ASIDE in head:
            return ()
        if b"level=ERROR" in head[:80]:
            return self._take_try(line)
        if _STREAM in head[:120]:
            self._tells_tries = True
            return (Waiting(None),) if self._tries else ()
        return ()

    def _take_try(self, line: bytes) -> Sequence[Event]:
        if not (found := _try_in(line)):
            return ()
        self._tries.append(decoded(found["said"]))
        kind = _kind_said(self._tries[-1])
        # No second try brings a used-up quota back, and it would sleep through the hours that the service told it.
        if len(self._tries) != FAILED_TRIES and kind not in ("quota", "billing"):
            wait = FIRST_BACKOFF * 2.0 ** (len(self._tries) - 1) + PATIENCE
            return (Waiting(wait),) if kind in LIMITS and self._tells_tries else ()
        if kind in LIMITS and self._limit is None:
            self._limit = limit_said(self._tries[-1], LIMITS[kind], self._clock(), self._zone)
            return (self._limit,)
        self._given_up = self._tries[-1]
        return (Result(False, self._given_up, stop=True),)

    # ---- the verdict ----

    def verdict(self, ending: Ending) -> Verdict:
        if ending.stopped_by == "post_result" and (self._error or self._given_up):
            return self._failure(ending)
        # What it logs beside its errors quotes commands and paths: no evidence of anything.
        ending = replace(ending, stderr_tail=_INFORMED.sub("", ending.stderr_tail))
        if ending.stopped_by in ("limited", "stalled") and self._limit is None and _is_limit(self._tries):
            # It sleeps a long retry-after through and tells nobody.
            return self._failure_said(self._tries[-1], ending)
        if stop := endings.stopped(ending, self._limit, "; ".join(self._tries[-1:])):
            return stop
        if self._error is not None:
            return self._failure(ending)
        died = endings.signalled(ending) or endings.crashed(ending)
        return died or (limited(self._limit) if self._limit else self._finished(ending))

    def _finished(self, ending: Ending) -> Verdict:
        if ending.exit_code != 0:
            return self._complained(ending)
        if self._reason == "stop" or (self._text_only and ending.stdout_tail.strip()):
            return Verdict("ok")
        if self._rejected:
            part = section(record(self._rejected), "part")
            return failure("permission", f"{text(part.get('tool'))}: {text(section(part, 'state').get('error'))}")
        if self._reason in _REASONS:
            return failure(_REASONS[self._reason], f"the last step ended: {self._reason}")
        return endings.truncated(ending)

    def _complained(self, ending: Ending) -> Verdict:
        """No events: a line or two on stderr, in colours."""
        said = _COLOUR.sub("", ending.stderr_tail)
        line = last_line(_LOGGED.sub("", said)) or last_line(said)
        if re.search(r"(?m)^opencode run \[message", said) or "You must provide a message" in line:
            return failure("configuration", said.strip().split("\n")[0])
        if "Session not found" in line:
            return failure("no_session", line)
        plain = replace(ending, stderr_tail=_LOGGED.sub("", said))
        return (
            evidence.judge(line, ending.now, zone=self._zone)
            or endings.conventional(plain, "opencode")
            or endings.failed(plain)
        )

    def _failure(self, ending: Ending) -> Verdict:
        if self._error is None:
            if self._unknown_steps >= UNKNOWN_STEPS:
                return failure("bad_response", self._given_up)
            return self._failure_said(self._given_up, ending)
        kind = _kind_of(self._error, self._reason)
        hint = "run `opencode auth login`, or set the provider's key where the daemon runs" if kind == "auth" else ""
        return failure(kind, _said(self._error), self._limit if kind in LIMITS else None, hint)

    def _failure_said(self, said: str, ending: Ending) -> Verdict:
        kind = _kind_said(said)
        limit = limit_said(said, LIMITS[kind], ending.now, self._zone) if kind in LIMITS else None
        return failure(kind, said, self._limit or limit)


def _sum(before: Usage, tokens: dict[str, Any], cost: float | None) -> Usage:
    cache = section(tokens, "cache")
    return Usage(
        before.input + count(tokens.get("input")),
        before.output + count(tokens.get("output")) + count(tokens.get("reasoning")),
        before.cache_read + count(cache.get("read")),
        before.cache_write + count(cache.get("write")),
        price((before.cost_usd or 0.0) + (cost or 0.0)),
    )


# ---- what its errors mean -------------------------------------------------------------------------------------------

_NAMES = {
    "ContentFilterError": "refused",
    "ContextOverflowError": "long",
    "MessageAbortedError": "interrupted",
    "MessageOutputLengthError": "output",
    "ProviderAuthError": "auth",
    "ProviderModelNotFoundError": "model",
}
_REASONS = {"content-filter": "refused", "length": "output", "unknown": "bad_response"}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOGGED = re.compile(r"(?m)^timestamp=.*$\n?")
_INFORMED = re.compile(r"(?m)^timestamp=\S+ level=(?:INFO|WARN|DEBUG) .*$\n?")


def _said(error: dict[str, Any]) -> str:
    name, message = text(error.get("name")), text(section(error, "data").get("message"))
    return f"{name}: {message}" if message else name


def _kind_of(error: dict[str, Any], reason: str) -> str:
    name, data = text(error.get("name")), section(error, "data")
    if name in _NAMES:
        return _NAMES[name]
    status, message = number(data.get("statusCode")), text(data.get("message"))
    # What is used up is no passing limit and no wrong key, whichever status the service gives it.
    if kind := _USED_UP.found_in(f"{message}\n{text(data.get('responseBody'))}"):
        return kind
    if status and (kind := by_status(int(status))) != "other":
        return kind
    kind = _kind_said(message)
    if kind == "other" and name == "UnknownError" and not reason:
        # All that it says of an unknown model or provider.
        return "model"
    return kind


_USED_UP = Sayings(
    (r"\binsufficient balance\b|\bCreditsError\b", "billing"),
    (r"\binsufficient_quota\b|\busage limit\b.{0,20}\b(?:reached|exceeded)", "quota"),
)


_SAYINGS = Sayings(
    (r"\b(?:exceeded your current|insufficient)[ _]quota\b|\busage limit\b", "quota"),
    (r"\brate limit|\btoo many requests\b", "limit"),
    (r"\boverloaded\b|\binternal server error\b|\bservice unavailable\b|\bat capacity\b", "overloaded"),
    (r"\bapi key\b|\bunauthori[sz]ed\b|\bforbidden\b", "auth"),
    (r"\bmaximum context length\b", "long"),
    (r"\bENOTFOUND\b|\bEAI_AGAIN\b", "dns"),
    (r"\bcertificate\b|\bCERT_\w+|\bself[- ]signed\b|\bUNABLE_TO_VERIFY\w*", "tls"),
    (r"\bETIMEDOUT\b", "network_timeout"),
    (r"\b(?:cannot|unable to) connect\b|\bECONNREFUSED\b|\bConnectionRefused\b", "unreachable"),
    (r"\bsocket connection was closed\b|\bECONNRESET\b", "network"),
    (r"\btimed out\b|\btimeout\b", "timeout"),
)


def _kind_said(said: str) -> str:
    return _SAYINGS.found_in(said) or evidence.kind_in(said)


def _is_limit(tries: Sequence[str]) -> bool:
    return bool(tries) and _kind_said(tries[-1]) in LIMITS


# ---- for people -----------------------------------------------------------------------------------------------------

_TELLING = ("command", "filePath", "path", "pattern", "query", "url", "description", "prompt")


class OpenCodeRenderer(Records):
    """Messages, one line for each tool call, what went wrong, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self._usage = Usage(cost_usd=0.0)

    def _show_stderr(self, line: bytes) -> str:
        if found := _try_in(line):
            return self._page.line(f"… {one_line(decoded(found['said']))}")
        words = clean(_COLOUR.sub("", decoded(line)))
        return "" if words.startswith("timestamp=") or not words.strip() else self._page.line(words)

    def _show(self, item: dict[str, Any]) -> str:
        part = section(item, "part")
        match item["type"]:
            case "text":
                return self._page.line(clean(part.get("text")))
            case "tool_use":
                return self._show_tool(part)
            case "step_finish":
                return self._show_step(part)
            case "error":
                return self._page.line(f"✗ {one_line(_said(section(item, 'error')) or trouble(item), 300)}")
        return ""

    def _show_tool(self, part: dict[str, Any]) -> str:
        state = section(part, "state")
        shown = self._page.line(f"→ {call(clean(part.get('tool')), section(state, 'input'), _TELLING)}")
        if state.get("status") == "error":
            return shown + self._page.line(f"  ✗ {one_line(state.get('error')) or one_line(trouble(state))}")
        code = section(state, "metadata").get("exit")
        if isinstance(code, int) and code:
            return shown + self._page.line(f"  ✗ exit code {code} ⏎ {one_line(state.get('output'))}")
        return shown

    def _show_step(self, part: dict[str, Any]) -> str:
        self._usage = _sum(self._usage, section(part, "tokens"), number(part.get("cost")))
        reason = clean(part.get("reason"))
        if reason == "tool-calls":
            return ""
        tokens = f"{self._usage.input + self._usage.cache_read:,} tokens in, {self._usage.output:,} out"
        facts = f"{tokens} · ${self._usage.cost_usd or 0.0:.4f}"
        return self._page.line(f"✓ done · {facts}" if reason == "stop" else f"✗ the step ended: {reason} · {facts}")


BACKEND = OpenCodeBackend()
