"""What the backends for APIs share: the command of an agent of ours (`agents/`), and what its lines mean.

Its lines are our own: start, text, thinking, tool, tool_result, usage, notice, then error or result. An error has the facts
(HTTP status, headers, the service's words); what they mean is said here, where every other agent's errors are judged.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from signal import Signals
from typing import Any

from backends import endings, evidence
from backends.base import STDOUT, Command, Ending, Event, Limited, Result, Run, Session, Usage, Verdict
from backends.failures import FAILURES, LIMITS, by_status, failure, limited
from backends.records import count, number, record, section, text, usual
from backends.rendering import Records, call, clean, one_line, trouble
from backends.resets import Reset, clamp, from_header, limit_until

#: How a daemon's own interpreter runs an agent of ours, wherever it was installed.
ENTRY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "mozartd", "entry.py")


class ApiBackend:
    renders = True
    resumes = False

    def __init__(self, name: str) -> None:
        self.name = name

    def command(self, run: Run) -> Command:
        if not run.prompt.strip():
            raise ValueError(f"cannot ask {self.name} with an empty prompt")
        task = {
            "options": dict(run.options),
            "prompt": run.prompt.encode("utf-8", "replace").decode(),
            "system": run.system_prompt,
            "session_id": run.session_id,
        }
        argv = [sys.executable, "-P", ENTRY, "agent", self.name]
        return Command(argv, json.dumps(task).encode(), stop=((Signals.SIGTERM, 1.0),))

    def parser(self, run: Run) -> ApiParser:
        return ApiParser(run)

    def renderer(self) -> ApiRenderer:
        return ApiRenderer()


# ---- lines to events ------------------------------------------------------------------------------------------------

_MATTERS = (b'{"type":"start"', b'{"type":"usage"', b'{"type":"error"', b'{"type":"result"')

#: Stop reasons that are no whole answer.
_STOPS = {
    "max_tokens": "output",
    "length": "output",
    "refusal": "refused",
    "model_context_window_exceeded": "long",
    "max_tool_iterations": "capped",
}
_MISSING = {"missing": "E505", "no_key": "E502"}
_HINTS = {
    "auth": "check the key, and the variable that holds it, where the daemon runs",
    "model": "correct the model's name in the score",
    "output": "raise backend.max_tokens (ollama: num_ctx), or ask for less",
}


class ApiParser:
    wants = frozenset({STDOUT})

    def __init__(self, run: Run) -> None:
        self._session_id = run.session_id
        self._clock = run.clock
        self._error: dict[str, Any] | None = None
        self._stop: str | None = None
        self._limit: Limited | None = None

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        line = usual(line)
        if not line.startswith(_MATTERS) or (item := record(line)) is None:
            return ()
        match item["type"]:
            case "start":
                return (Session(self._session_id, text(item.get("model")) or None),)
            case "usage":
                return (Usage(*(count(item.get(name)) for name in ("input", "output", "cache_read", "cache_write"))),)
            case "error":
                return self._take_error(item)
        self._stop = text(item.get("stop"))
        return (Result(self._stop not in _STOPS),)

    def _take_error(self, item: dict[str, Any]) -> Sequence[Event]:
        self._error = item
        kind = _kind(item)
        if kind not in LIMITS:
            return (Result(False, text(item.get("message"))),)
        now = self._clock()
        reset = _reset({name: text(value) for name, value in section(item, "headers").items()}, now)
        self._limit = limit_until(text(item.get("message")), LIMITS[kind], reset)
        return (self._limit,)

    def verdict(self, ending: Ending) -> Verdict:
        if self._error is not None and ending.stopped_by in (None, "post_result"):
            return self._failure(self._error)
        if stop := endings.stopped(ending, self._limit):
            return stop
        if self._stop in _STOPS:
            return _judged(_STOPS[self._stop], f"the model stopped with {self._stop}")
        if self._stop is not None and ending.exit_code == 0:
            return Verdict("ok")
        died = endings.signalled(ending) or endings.crashed(ending)
        return died or (endings.truncated(ending) if ending.exit_code == 0 else endings.failed(ending))

    def _failure(self, item: dict[str, Any]) -> Verdict:
        kind, said = _kind(item), text(item.get("message"))
        if self._limit is not None:
            return limited(self._limit)
        if kind in _MISSING:
            return Verdict(
                "missing" if kind == "missing" else "failed", _MISSING[kind], said, text(item.get("hint")), said
            )
        return _judged(kind, said, text(item.get("hint")))


def _judged(kind: str, said: str, hint: str = "") -> Verdict:
    return failure(kind, said, hint=hint or _HINTS.get(kind, ""))


def _kind(item: dict[str, Any]) -> str:
    kind, status = text(item.get("kind")), number(item.get("status"))
    if kind not in FAILURES and kind not in _MISSING:
        kind = by_status(int(status) if status else None)
    return kind if kind != "other" else evidence.kind_in(text(item.get("message")))


def _reset(headers: dict[str, str], now: float) -> Reset | None:
    """`retry-after`, else the latest reset of what is used up, else the subscription's."""
    if after := from_header(headers.get("retry-after", ""), now):
        return after
    prefix = "anthropic-ratelimit-"
    used_up = [
        _instant(headers.get(name.removesuffix("remaining") + "reset", ""))
        for name, value in headers.items()
        if name.startswith(prefix) and name.endswith("-remaining") and value == "0"
    ]
    resets = [*used_up, _instant(headers.get(f"{prefix}unified-reset", ""))]
    known = [at for at in resets if at is not None]
    return clamp(max(known), now) if known else None


def _instant(value: str) -> float | None:
    """RFC 3339, or seconds since the epoch."""
    try:
        return float(value) if value.isdecimal() else datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return None


# ---- for people -----------------------------------------------------------------------------------------------------

_TELLING = ("command", "path", "file_path", "query", "url", "pattern", "name")


class ApiRenderer(Records):
    """Text as it is generated, one line for each tool call, what went wrong, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self._usage: dict[str, Any] = {}

    def _show(self, item: dict[str, Any]) -> str:
        match item["type"]:
            case "text":
                return self._page.stream(clean(item.get("text")))
            case "tool":
                return self._page.line(f"→ {call(clean(item.get('name')), section(item, 'arguments'), _TELLING)}")
            case "tool_result" if item.get("error"):
                return self._page.line(f"  ✗ {one_line(item.get('text'))}")
            case "notice":
                return self._page.line(f"… {one_line(item.get('text'), 300)}")
            case "usage":
                self._usage = item
            case "error":
                return self._page.line(f"✗ {one_line(item.get('message'), 300) or one_line(trouble(item), 300)}")
            case "result":
                return self._ending(text(item.get("stop")))
        return ""

    def _ending(self, stop: str) -> str:
        tokens = f"{count(self._usage.get('input'))} tokens in, {count(self._usage.get('output'))} out"
        return self._page.line(f"✗ {clean(stop)} · {tokens}" if stop in _STOPS else f"✓ done · {tokens}")
