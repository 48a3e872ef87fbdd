"""Codex: `codex exec --json`, the prompt on stdin.

Its terminal events are `turn.completed` and `turn.failed`; the latter has nothing but a message, so failures are told by how
messages begin. `error` events are not terminal. Its token counts are those of the whole thread. When the host refuses
connections it waits for the network for ever, and a long retry-after is slept through in silence: both are ended here.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from signal import Signals
from typing import Any

from backends import endings, evidence
from backends.base import (
    FIRST_BYTE_SECONDS,
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
    encoded,
)
from backends.failures import LIMITS, Sayings, by_status, failure, limited
from backends.records import count, items, last_line, record, section, text, usual
from backends.rendering import Records, brief, clean, one_line, trouble
from backends.resets import limit_said, zone_of

#: Characters. It refuses more.
LARGEST_PROMPT = 1_048_576
LONGEST_SYSTEM_PROMPT = 120_000
#: Seconds. A wait it announces above this is a limit for Mozart to hold, below it is left to the program.
PATIENCE = 10.0
#: So many times in a row it may wait for the network; the pauses grow, and it would go on for ever.
NETWORK_WAITS = 3


class CodexBackend:
    name = "codex_cli"
    renders = True
    resumes = True

    def command(self, run: Run) -> Command:
        argv = ["codex", "exec", *(["resume"] if run.resume else []), "--skip-git-repo-check"]
        if run.options.get("output_format") != "text":
            argv.append("--json")
        if model := run.options.get("cli_model"):
            argv += ["-m", str(model)]
        for setting, value in _settings(run).items():
            argv += ["-c", f"{setting}={value}"]
        argv += [run.resume, "-"] if run.resume else ["-"]
        argv += [str(word) for word in run.options.get("cli_extra_args") or ()]
        # INT makes it kill its tools; TERM leaves them.
        return Command(
            argv,
            stdin=_prompt(run.prompt),
            stop=((Signals.SIGINT, 3.0), (Signals.SIGTERM, 2.0)),
            first_byte_seconds=None if run.options.get("output_format") == "text" else FIRST_BYTE_SECONDS,
        )

    def parser(self, run: Run) -> CodexParser:
        return CodexParser(run)

    def renderer(self) -> CodexRenderer:
        return CodexRenderer()


def _settings(run: Run) -> dict[str, str]:
    """As TOML, because `exec resume` knows the flags for them only in part."""
    settings = {}
    if run.options.get("skip_permissions", True):
        settings["sandbox_mode"] = _toml("danger-full-access")
    else:
        settings["sandbox_mode"] = _toml("workspace-write")
        settings["sandbox_workspace_write.writable_roots"] = f"[{_toml(run.workspace)}]"
    if run.system_prompt is not None:
        if len(run.system_prompt.encode("utf-8", "replace")) > LONGEST_SYSTEM_PROMPT:
            raise ValueError(f"cannot pass codex a system prompt of more than {LONGEST_SYSTEM_PROMPT:,} bytes")
        # Beside its own instructions, not in their place: those tell it how to use its tools.
        settings["developer_instructions"] = _toml(run.system_prompt)
    if run.options.get("disable_mcp", True):
        settings |= {f"mcp_servers.{name}.enabled": "false" for name in _mcp_servers(run.environment)}
    return settings


def _toml(value: str) -> str:
    return json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False)


def _mcp_servers(environment: Mapping[str, str]) -> list[str]:
    """The servers its user has configured: they can only be switched off one by one, and leaving the whole configuration
    out would lose the provider and the model as well. The one file a backend reads."""
    home = environment.get("CODEX_HOME") or os.path.join(environment.get("HOME", "/nonexistent"), ".codex")
    try:
        with open(os.path.join(home, "config.toml"), "rb") as file:
            servers = tomllib.load(file).get("mcp_servers", {})
    except (OSError, ValueError):
        return []
    return [name for name in servers if re.fullmatch(r"[\w-]+", name)]


def _prompt(prompt: str) -> bytes:
    if len(prompt) > LARGEST_PROMPT:
        raise PromptTooLongError(
            f"cannot send codex a prompt of {len(prompt):,} characters: it takes {LARGEST_PROMPT:,}"
        )
    return encoded(prompt, "codex")


# ---- lines to events ------------------------------------------------------------------------------------------------

_MATTERS = (
    b'{"type":"error"',
    b'{"type":"thread.started"',
    b'{"type":"turn.completed"',
    b'{"type":"turn.failed"',
)
_MESSAGE = b'"type":"agent_message"'
_RECONNECTING = re.compile(r"Reconnecting\.\.\. (?:\d+/\d+ |waiting for network )?\((.*)\)$", re.DOTALL)


class CodexParser:
    def __init__(self, run: Run) -> None:
        self._text_only = run.options.get("output_format") == "text"
        self.wants = frozenset() if self._text_only else frozenset({STDOUT})
        self._model = str(run.options.get("cli_model") or "") or None
        self._clock = run.clock
        self._zone = zone_of(run.environment)
        self._used = run.used or Usage()
        self._answer = b""
        self._network_waits = 0
        self._failed = ""
        """The message of the failed turn, or of what would have failed it."""
        self._completed = False
        self._limit: Limited | None = None
        self._retrying = ""

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        line = usual(line)
        if line.startswith(b'{"type":"item.'):
            if _MESSAGE in line[:120]:
                self._answer = line
            return ()
        if not line.startswith(_MATTERS) or (item := record(line)) is None:
            return ()
        match item["type"]:
            case "thread.started":
                return (Session(text(item.get("thread_id")), self._model),)
            case "turn.completed":
                return self._take_completed(section(item, "usage"))
            case "turn.failed":
                return self._take_failed(text(section(item, "error").get("message")))
        return self._take_error(text(item.get("message")))

    def _take_completed(self, usage: dict[str, Any]) -> Sequence[Event]:
        self._completed, self._failed = True, ""
        answer = section(record(self._answer), "item").get("text")
        return (_usage(usage, self._used), Result(True, text(answer)))

    def _take_failed(self, message: str) -> Sequence[Event]:
        self._completed, self._failed = False, message or "turn.failed"
        return (*self._take_limit(message), Result(False, message))

    def _take_error(self, message: str) -> Sequence[Event]:
        """A retry. What it waits for is only in the message, and how long hardly ever."""
        if not (found := _RECONNECTING.match(message)):
            return ()
        self._retrying = message
        if "waiting for network" in message:
            return self._take_network_wait(found[1])
        self._network_waits = 0
        if _kind(found[1]) != "limit":
            return ()
        limit = limit_said(found[1], LIMITS["limit"], self._clock(), self._zone)
        if limit.until is not None and limit.until - self._clock() < PATIENCE:
            return (replace(limit, patient=True),)
        return self._take_limit(found[1])

    def _take_network_wait(self, message: str) -> Sequence[Event]:
        self._network_waits += 1
        if self._network_waits != NETWORK_WAITS:
            return ()
        self._failed = message
        return (Result(False, message, stop=True),)

    def _take_limit(self, message: str) -> Sequence[Event]:
        kind = _kind(message)
        if kind not in LIMITS:
            return ()
        limit = limit_said(message, LIMITS[kind], self._clock(), self._zone)
        if self._limit and (self._limit.until or not limit.until):
            return ()
        self._limit = limit
        return (limit,)

    # ---- the verdict ----

    def verdict(self, ending: Ending) -> Verdict:
        if ending.stopped_by == "post_result" and self._failed:
            return self._failure(self._failed)
        if stop := endings.stopped(ending, self._limit, self._retrying):
            return stop
        if self._failed:
            return self._failure(self._failed)
        if self._completed or (self._text_only and ending.exit_code == 0 and ending.stdout_tail.strip()):
            return self._finished(ending)
        return self._unfinished(ending)

    def _finished(self, ending: Ending) -> Verdict:
        if ending.exit_code == 0:
            return Verdict("ok")
        message = f"the agent completed its turn, but exited with status {ending.exit_code}"
        return endings.signalled(ending) or endings.crashed(ending) or endings.failed(ending, message=message)

    def _unfinished(self, ending: Ending) -> Verdict:
        if died := endings.signalled(ending) or endings.crashed(ending):
            return died
        if self._limit is not None:
            return limited(self._limit)
        if ending.exit_code == 0:
            return endings.truncated(ending)
        complaint = _complaint(ending.stderr_tail)
        kind = _COMPLAINTS.found_in(complaint)
        if kind:
            return failure(kind, complaint)
        if _kind(complaint) != "other":
            return self._failure(complaint, ending.now)
        return endings.conventional(ending, "codex") or endings.failed(ending)

    def _failure(self, message: str, now: float | None = None) -> Verdict:
        kind = _kind(message)
        if self._limit and kind in (*LIMITS, "other"):
            return limited(self._limit)
        hint = "run `codex login`, or set its provider's key where the daemon runs" if kind == "auth" else ""
        limit = limit_said(message, LIMITS[kind], now or self._clock(), self._zone) if kind in LIMITS else None
        return failure(kind, message, limit, hint)


def _usage(usage: dict[str, Any], before: Usage) -> Usage:
    """Its input counts what came from the cache, and all counts are the thread's."""
    cached = count(usage.get("cached_input_tokens"))
    written = count(usage.get("cache_write_input_tokens"))
    return Usage(
        input=max(0, count(usage.get("input_tokens")) - cached - written - before.input),
        output=max(0, count(usage.get("output_tokens")) - before.output),
        cache_read=max(0, cached - before.cache_read),
        cache_write=max(0, written - before.cache_write),
    )


# ---- what its messages mean -----------------------------------------------------------------------------------------

#: How the messages of its failed turns read. Of its own making, never the model's words.
_SAYINGS = Sayings(
    (r"^Missing environment variable", "auth"),
    (r"\bnot logged in\b|\b(?:refresh token|access token)\b.*\b(?:expired|revoked|could not be refreshed)", "auth"),
    (r"^You['’]ve hit your .{0,40}limit|^Quota exceeded|\bupgrade to (?:Plus|Pro)\b", "quota"),
    (r"^Your workspace is out of credits|^You(?:['’]ve)? hit your spend cap", "billing"),
    (r"^rate limit exceeded: slow down|\bhigh demand\b|\bat capacity\b|\boverloaded\b", "overloaded"),
    (r"^rate limit exceeded", "limit"),
    (r"\bran out of room in the model's context window", "long"),
    (r"^The model .* does not exist|\bmodel is not supported\b", "model"),
    (r"^Incomplete response returned, reason: max_output_tokens", "output"),
    (r"^Incomplete response returned, reason: content_filter", "refused"),
    (r"\b(?:was|been) flagged\b|\busage policy\b|\bfor safety reasons\b", "refused"),
    (r"\bfailed to lookup address information|\bdns error", "dns"),
    (r"\binvalid peer certificate|\bcertificate verify failed|\btls handshake", "tls"),
    (r"\bidle timeout waiting for SSE|\boperation timed out|\brequest timed out", "timeout"),
    (r"\berror sending request|\bConnection failed|\bConnection refused", "unreachable"),
    (r"\bnetwork error\b|\bconnection reset", "network"),
    (r"^stream disconnected before completion", "bad_response"),
)
_STATUS = re.compile(r"\b(?:unexpected|last) status:? (\d{3})\b")

#: What it says on stderr when it does not even start a turn.
_COMPLAINTS = Sayings(
    (r"no rollout found for thread id|No session(?:s)? found|\bno recorded session", "no_session"),
    (r"Input exceeds the maximum length", "long"),
    (r"CODEX_HOME points to|^Error: No such file or directory", "path"),
    (r"\bmcp_servers\b|\bMCP\b.*\b(?:invalid|failed to start)", "mcp"),
    (r"^No prompt provided|^Not inside a trusted directory|^Failed to read prompt from stdin", "configuration"),
    (r"^error: |^Error loading config|^Usage: ", "configuration"),
)


def _kind(message: str) -> str:
    if found := _STATUS.search(message):
        kind = by_status(int(found[1]))
        if kind != "other":
            return kind
    if kind := _SAYINGS.found_in(message):
        return kind
    # Its limits begin with its own words for them; somewhere in a message they may be what somebody else said.
    kind = evidence.kind_in(message)
    return "other" if kind in LIMITS else kind


def _complaint(stderr: str) -> str:
    """The last line that is a complaint: its log lines, also those called ERROR, do not mean failure."""
    for line in map(str.strip, reversed(stderr.split("\n"))):
        if line.startswith("ERROR: "):
            return line.removeprefix("ERROR: ")
        if line and not _LOGGED.match(line):
            return line
    return last_line(stderr)


_LOGGED = re.compile(
    r"\d{4}-\d\d-\d\dT\S+\s+(?:ERROR|WARN|INFO) |WARNING: |warning: |Reading (?:additional input|prompt)|note: run with"
    r"|For more information, try|tip: |Usage: "
)


# ---- for people -----------------------------------------------------------------------------------------------------

_NOISE = (b"Reading additional input from stdin", b"Reading prompt from stdin", b"WARNING: proceeding, even though")


class CodexRenderer(Records):
    """Messages, one line for each command and change, what went wrong, and how it ended."""

    noise = _NOISE

    def _show(self, item: dict[str, Any]) -> str:
        match item["type"]:
            case "item.started":
                return self._show_started(section(item, "item"))
            case "item.completed":
                return self._show_completed(section(item, "item"))
            case "error" if text(item.get("message")).startswith("Reconnecting"):
                return self._page.line(f"… {one_line(item.get('message'))}")
            case "turn.failed":
                return self._page.line(f"✗ {one_line(trouble(item), 300)}")
            case "turn.completed":
                usage = section(item, "usage")
                tokens = f"{count(usage.get('input_tokens')):,} tokens in, {count(usage.get('output_tokens')):,} out"
                return self._page.line(f"✓ done · {tokens}")
        return ""

    def _show_started(self, item: dict[str, Any]) -> str:
        call = _call(item)
        return self._page.line(f"→ {call}") if call else ""

    def _show_completed(self, item: dict[str, Any]) -> str:
        match item.get("type"):
            case "agent_message":
                return self._page.line(clean(item.get("text")))
            case "error":
                return self._page.line(f"… {one_line(item.get('message'))}")
            case "command_execution" if item.get("exit_code") not in (0, None):
                said = one_line(text(item.get("aggregated_output"))[-2000:])
                return self._page.line(f"  ✗ exit code {item['exit_code']}{' ⏎ ' if said else ''}{said}")
            case "file_change" | "mcp_tool_call" if item.get("status") == "failed":
                said = one_line(section(item, "error").get("message")) or one_line(trouble(item)) or "failed"
                return self._page.line(f"  ✗ {said}")
        return ""


def _call(item: dict[str, Any]) -> str:
    match item.get("type"):
        case "command_execution":
            return f"shell: {brief(_script(text(item.get('command'))))}"
        case "file_change":
            changes = items(item.get("changes"))
            return "edit: " + brief(", ".join(f"{text(each.get('kind'))} {text(each.get('path'))}" for each in changes))
        case "mcp_tool_call":
            return f"{clean(item.get('server'))}.{clean(item.get('tool'))}"
        case "web_search":
            return f"search: {brief(item.get('query'))}"
    return ""


def _script(command: str) -> str:
    """`/bin/bash -lc '…'` is how it runs everything: only what it runs tells."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return words[2] if len(words) == 3 and words[1] in ("-lc", "-c") else command


BACKEND = CodexBackend()
