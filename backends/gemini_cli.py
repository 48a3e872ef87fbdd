"""Gemini CLI: `gemini -o stream-json`, the prompt on stdin.

Its terminal event is `result` with a status; an exit code of 0 proves nothing (signals, blocked and empty answers), and after
an API error it is the HTTP status modulo 256, which looks like a signal. It retries for minutes or, told a reset time, for
hours, and says so on stderr only: so stderr is read too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from signal import Signals
from typing import Any

from backends import endings, evidence
from backends.base import (
    FIRST_BYTE_SECONDS,
    LINE_CAP,
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
    encoded,
)
from backends.failures import LIMITS, Sayings, by_status, failure, limited
from backends.patience import UNTOLD
from backends.records import count, decoded, last_line, number, record, section, text, usual
from backends.rendering import Records, call, clean, one_line, trouble
from backends.resets import limit_said, zone_of

#: Bytes. It cuts more off, with a warning.
LARGEST_PROMPT = 8 << 20
#: Seconds. A wait it announces above this is a limit for Mozart to hold, below it is left to the program.
PATIENCE = 10.0
#: It tries ten times, waiting up to half a minute each time; by the third it is no hiccup.
ATTEMPTS = 3
#: Bytes of the answer's lines kept for `Result.text`.
ANSWER_KEPT = 1 << 20

_ENVIRONMENT = {
    # Else a wrapper stands between, which ignores signals and leaves the real process behind when it is killed.
    "GEMINI_CLI_NO_RELAUNCH": "true",
    # Else it refuses to run without a person who trusts the directory: the score's user has chosen it.
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
}


class GeminiBackend:
    name = "gemini_cli"
    renders = True
    resumes = True

    def command(self, run: Run) -> Command:
        argv = ["gemini"]
        if (form := run.options.get("output_format") or "stream-json") != "text":
            argv += ["-o", form]
        if model := run.options.get("cli_model"):
            argv += ["-m", str(model)]
        if run.options.get("skip_permissions", True):
            argv.append("--yolo")
        if run.options.get("disable_mcp", True):
            argv += ["--allowed-mcp-server-names", "none"]
        argv += ["--resume", run.resume] if run.resume else ["--session-id", run.session_id]
        argv += [str(word) for word in run.options.get("cli_extra_args") or ()]
        return Command(
            argv,
            stdin=encoded(run.prompt, "gemini", LARGEST_PROMPT),
            environment=_environment(run),
            # An event of more than 128 KiB is always cut in a pipe, never in a file.
            spool=True,
            first_byte_seconds=FIRST_BYTE_SECONDS if form == "stream-json" else None,
            stop=((Signals.SIGINT, 3.0), (Signals.SIGTERM, 2.0)),
        )

    def parser(self, run: Run) -> GeminiParser:
        return GeminiParser(run)

    def renderer(self) -> GeminiRenderer:
        return GeminiRenderer()


def _environment(run: Run) -> dict[str, str]:
    wanted = dict(_ENVIRONMENT)
    if run.system_prompt is not None:
        wanted["GEMINI_SYSTEM_MD"] = str(run.options["system_prompt_file"])
    return {name: value for name, value in wanted.items() if name not in run.environment}


# ---- lines to events ------------------------------------------------------------------------------------------------

_MESSAGE = b'{"type":"message"'
_TOOL_RESULT = b'{"type":"tool_result"'
_ANSWER = b'"role":"assistant"'
_MATTERS = (b'{"type":"init"', b'{"type":"result"', b'{"type":"error"')
_ATTEMPT = re.compile(
    rb"Attempt (?P<n>\d+) failed(?: with status (?P<status>\d+))?(?P<said>.*?)(?:Retrying after (?P<ms>\d+)ms|Retrying with)"
)


class GeminiParser:
    def __init__(self, run: Run) -> None:
        self._format = str(run.options.get("output_format") or "stream-json")
        self.wants = frozenset({STDOUT, STDERR} if self._format == "stream-json" else {STDERR})
        self._clock = run.clock
        self._zone = zone_of(run.environment)
        self._answer: list[bytes] = []
        self._kept = 0
        self._result: dict[str, Any] | None = None
        self._problem = ""
        """The last error event; the result after it has no words."""
        self._looped = False
        self._retrying = ""
        self._given_up = ""
        self._limit: Limited | None = None

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        if stream == STDERR:
            return self._take_attempt(line) if line.startswith(b"Attempt ") else ()
        line = usual(line)
        if line.startswith(_MESSAGE):
            if self._kept < ANSWER_KEPT and _ANSWER in line[:120]:
                self._answer.append(line)
                self._kept += len(line)
            return ()
        if line.startswith(_TOOL_RESULT):
            # What was said before a tool's result is not the answer.
            self._answer, self._kept = [], 0
            return ()
        if not line.startswith(_MATTERS):
            return ()
        item = record(line)
        if item is None:
            return self._take_cut_result(line) if len(line) >= LINE_CAP else ()
        return self._take(item)

    def _take(self, item: dict[str, Any]) -> Sequence[Event]:
        match item["type"]:
            case "init":
                return (Session(text(item.get("session_id")), text(item.get("model")) or None),)
            case "error":
                if item.get("severity") == "error":
                    self._problem = text(item.get("message"))
                elif text(item.get("message")).startswith("Loop detected"):
                    self._looped = True
                return ()
        self._result = item
        ok = item.get("status") == "success" and not self._looped
        said = "".join(text(section(record(line)).get("content")) for line in self._answer) if ok else self._complaint()
        return (*(() if ok else self._take_limit(said)), _usage(section(item, "stats")), Result(ok, said))

    def _take_cut_result(self, line: bytes) -> Sequence[Event]:
        """A result too long to be had whole: its head tells how it ended."""
        if not (found := re.match(rb'\{"type":"result","timestamp":"[^"]*","status":"(\w+)"', line)):
            return ()
        self._result = {"status": decoded(found[1])}
        return (Result(found[1] == b"success"),)

    def _take_attempt(self, line: bytes) -> Sequence[Event]:
        if not (found := _ATTEMPT.match(line)):
            return ()
        said, wait = decoded(line), float(found["ms"] or 0) / 1000
        self._retrying = said[:300]
        kind = by_status(int(found["status"])) if found["status"] else _kind(decoded(found["said"]))
        if wait <= PATIENCE and int(found["n"]) < ATTEMPTS:
            return self._sit_out(said, kind, wait)
        if kind in LIMITS:
            return self._take_limit(said, kind)
        if not self._given_up:
            self._given_up = said
            return (Result(False, said, stop=True),)
        return ()

    def _sit_out(self, said: str, kind: str, wait: float) -> Sequence[Event]:
        if kind not in LIMITS or kind == "overloaded":
            return ()
        return (Limited(said[:2000], self._clock() + (wait or UNTOLD), kind=LIMITS[kind], patient=True),)

    def _take_limit(self, said: str, kind: str = "") -> Sequence[Event]:
        kind = kind or _kind(said)
        if kind not in LIMITS or self._limit:
            return ()
        self._limit = limit_said(said, LIMITS[kind], self._clock(), self._zone)
        return (self._limit,)

    # ---- the verdict ----

    def verdict(self, ending: Ending) -> Verdict:
        if ending.stopped_by == "post_result" and (self._given_up or self._failed()):
            return self._failure(self._given_up or self._complaint())
        if stop := endings.stopped(ending, self._limit, self._retrying):
            return stop
        if self._result is not None:
            return self._finished(ending)
        if self._limit is not None:
            return limited(self._limit)
        return (endings.signalled(ending) if ending.signal else None) or self._unfinished(ending)

    def _failed(self) -> bool:
        return self._result is not None and (self._looped or self._result.get("status") != "success")

    def _finished(self, ending: Ending) -> Verdict:
        if self._failed():
            said = self._complaint()
            return self._failure(said, _kind_ended(said, ending))
        if ending.exit_code == 0:
            return Verdict("ok")
        message = f"the agent reported success, but exited with status {ending.exit_code}"
        return endings.signalled(ending) or endings.crashed(ending) or endings.failed(ending, message=message)

    def _unfinished(self, ending: Ending) -> Verdict:
        said = ending.stdout_tail.strip()
        if ending.exit_code == 0:
            whole = said and (self._format == "text" or (self._format == "json" and said.endswith("}")))
            return Verdict("ok") if whole else endings.truncated(ending)
        complaint = _complaint_in(ending.stderr_tail)
        kind = _kind_ended(complaint, ending)
        if kind != "other":
            return self._failure(complaint, kind)
        return (
            endings.signalled(ending)
            or endings.crashed(ending)
            or endings.conventional(ending, "gemini")
            or endings.failed(ending)
        )

    def _complaint(self) -> str:
        """The result's own words, or those of the error event before it."""
        said = text(section(self._result, "error").get("message")) or self._problem
        return said or ("Loop detected" if self._looped else "")

    def _failure(self, said: str, kind: str = "") -> Verdict:
        kind = kind or _kind(said)
        hint = "run `gemini` and log in, or set GEMINI_API_KEY where the daemon runs" if kind == "auth" else ""
        limit = self._limit
        if kind in LIMITS and limit is None:
            limit = limit_said(said, LIMITS[kind], self._clock(), self._zone)
        return failure(kind, said or "result: error", limit if kind in LIMITS else None, hint)


def _usage(stats: dict[str, Any]) -> Usage:
    """Its input counts what came from the cache."""
    cached = count(stats.get("cached"))
    return Usage(max(0, count(stats.get("input_tokens")) - cached), count(stats.get("output_tokens")), cached)


# ---- what its messages mean -----------------------------------------------------------------------------------------

#: What it says in error records and on stderr; never the model's words.
_SAYINGS = Sayings(
    (r"\bexhausted your (?:daily quota|capacity)|\bquota will reset\b|\bexceeded your current quota\b", "quota"),
    (r"\bAPI_KEY_INVALID\b|\bAPI key not valid\b|\bInvalid auth method\b|\bUNAUTHENTICATED\b", "auth"),
    (r"\bPERMISSION_DENIED\b|\bset an Auth method\b", "auth"),
    (r"\bexceeds the maximum number of tokens\b", "long"),
    (r"\bis not found for API version\b|\bModelNotFoundError\b", "model"),
    (r"\bResource has been exhausted\b|\bRESOURCE_EXHAUSTED\b", "limit"),
    (r"\bFatalTurnLimitedError\b|\bmax session turns\b", "capped"),
    (r"\bblocked due to\b|\bPROHIBITED_CONTENT\b", "refused"),
    (r"\bempty response\b|\bmalformed function call\b|\bwithout a finish reason\b", "bad_response"),
    (r"\bIncomplete JSON segment\b", "bad_response"),
    (r"^Loop detected", "loop"),
    (r"\bENOTFOUND\b|\bEAI_AGAIN\b", "dns"),
    (r"\bCERT_\w+|\bself[- ]signed certificate\b|\bUNABLE_TO_VERIFY\w*", "tls"),
    (r"\bETIMEDOUT\b", "network_timeout"),
    (r"\bfetch failed\b|\bECONNREFUSED\b|\bECONNRESET\b", "unreachable"),
    (r"\bmodel is overloaded\b|\bUNAVAILABLE\b", "overloaded"),
    (r"^Unknown argument|^Not enough arguments|\bNo input provided via stdin\b", "configuration"),
    (r"\bInvalid session identifier\b|\bNo previous sessions found\b|\bError resuming session\b", "no_session"),
)
_STATUS = re.compile(r'"code":\s?(\d{3})\b|\bstatus:? (\d{3})\b')
#: Its own exit codes, for when it says nothing that is known.
_EXITS = {
    41: "auth",
    42: "configuration",
    44: "configuration",
    52: "configuration",
    53: "capped",
    55: "configuration",
    130: "interrupted",
    145: "auth",
    147: "auth",
    173: "limit",
    244: "overloaded",
    247: "overloaded",
}


def _kind(said: str) -> str:
    kind = _SAYINGS.found_in(said)
    if not kind and (found := _STATUS.search(said)):
        kind = by_status(int(found[1] or found[2]))
    return kind if kind not in ("", "other") else evidence.kind_in(said)


def _kind_ended(said: str, ending: Ending) -> str:
    """What it says comes first; its exit code, which is the lower byte of the HTTP status, when that tells nothing."""
    kind = _kind(said)
    return kind if kind != "other" else _EXITS.get(ending.exit_code or 0, "other")


def _complaint_in(stderr: str) -> str:
    """The sentence among stack frames and dumped objects: the JSON error's, the API error's, or the last line."""
    for pattern in (_SAID_IN_JSON, _SAID_IN_DUMP, _FIRST_OF_USAGE):
        if found := pattern.findall(stderr):
            return str(found[-1])
    said = [line for line in stderr.split("\n")[-30:] if not line.startswith("Attempt ")]
    return next((line.strip() for line in reversed(said) if _kind(line) != "other"), last_line(stderr))


_SAID_IN_JSON = re.compile(r'^    "message": "(.*)",?$', re.MULTILINE)
_SAID_IN_DUMP = re.compile(r"^Error when talking to Gemini API.*?\.json (.*)$", re.MULTILINE)
_FIRST_OF_USAGE = re.compile(r"^(Unknown argument.*|Not enough arguments.*)$", re.MULTILINE)


# ---- for people -----------------------------------------------------------------------------------------------------

_NOISE = (
    b"Warning: Basic terminal",
    b"Warning: 256-color",
    b"Ripgrep is not available",
    b"[STARTUP]",
    b"YOLO mode is enabled",
    b"    at ",
)
_TELLING = ("command", "file_path", "absolute_path", "path", "pattern", "query", "url", "description", "prompt")


class GeminiRenderer(Records):
    """Text as it is generated, one line for each tool call, what went wrong, and how it ended."""

    noise = _NOISE

    def _show(self, item: dict[str, Any]) -> str:
        match item["type"]:
            case "message" if item.get("role") == "assistant":
                words = clean(item.get("content"))
                return self._page.stream(words) if item.get("delta") else self._page.line(words)
            case "tool_use":
                return self._page.line(f"→ {call(clean(item.get('tool_name')), section(item, 'parameters'), _TELLING)}")
            case "tool_result" if item.get("status") != "success":
                return self._page.line(f"  ✗ {one_line(item.get('output')) or one_line(trouble(item)) or 'failed'}")
            case "error":
                return self._page.line(f"… {one_line(item.get('message')) or one_line(trouble(item))}")
            case "result":
                return self._show_result(item)
        return ""

    def _show_result(self, item: dict[str, Any]) -> str:
        stats = section(item, "stats")
        tokens = f"{count(stats.get('input_tokens')):,} tokens in, {count(stats.get('output_tokens')):,} out"
        facts = f"{(number(stats.get('duration_ms')) or 0.0) / 1000:.1f} s · {tokens}"
        if item.get("status") == "success":
            return self._page.line(f"✓ done · {facts}")
        said = one_line(section(item, "error").get("message") or trouble({**item, "type": "", "status": ""}), 300)
        return self._page.line(f"✗ {said or 'ended with an error'} · {facts}")


BACKEND = GeminiBackend()
