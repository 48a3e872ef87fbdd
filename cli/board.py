"""A running job as its events tell it: what `mozart run` shows at the bottom of the terminal, and says in a pipe.

Pure: fed with events and a clock's reading, asked for facts. Never asks the daemon anything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cli import text
from ipc import states
from ipc.states import JOB_ENDED, SHEET_ENDED

Event = dict[str, Any]

#: Other events of jobs and sheets (`job.budget`, `sheet.moved`) change no state.
_JOB_STATES, _SHEET_STATES = frozenset(map(str, states.Job)), frozenset(map(str, states.Sheet))


@dataclass(slots=True)
class Running:
    attempt: int
    since: float


@dataclass(slots=True)
class Waiting:
    state: str
    reason: str
    until: str | None


@dataclass(slots=True)
class Board:
    """One job. `states` knows the sheets that an event has named; the others are pending."""

    job: str
    total: int
    state: str = "queued"
    reason: str = ""
    started: float | None = None
    states: dict[int, str] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)
    waiting: dict[int, Waiting] = field(default_factory=dict)
    cost_usd: float = 0.0
    worked: dict[int, float] = field(default_factory=dict)
    """Seconds in which the attempts ran that have ended, by sheet."""
    ran_seconds: float = 0.0
    ran_since: float | None = None
    """As in the job's JSON."""

    @property
    def ended(self) -> bool:
        return self.state in JOB_ENDED

    def counts(self) -> dict[str, int]:
        """How many sheets are in which state, those that need nothing more first."""
        counted = Counter(self.states.values())
        counted["pending"] += self.total - len(self.states)
        order = ("completed", "skipped", "failed", "blocked", "cancelled", "running", "waiting", "awaiting", "pending")
        return {name: counted[name] for name in order if counted[name]}

    def done(self) -> int:
        return sum(state in SHEET_ENDED for state in self.states.values())

    def apply(self, event: Event) -> None:
        kind, _, what = event["type"].partition(".")
        if kind == "job" and what in _JOB_STATES:
            self._job(what, event)
        elif kind == "sheet" and what in _SHEET_STATES:
            self._sheet(event["sheet"], what, event)
        elif event["type"] == "attempt.finished":
            self.cost_usd += event["data"].get("cost_usd") or 0.0
            sheet = event["sheet"]
            self.worked[sheet] = self.worked.get(sheet, 0.0) + (event["data"].get("seconds") or 0.0)

    def ran(self, now: float) -> float:
        """Seconds in which something of the job ran, so far."""
        return self.ran_seconds + (now - self.ran_since if self.ran_since is not None else 0.0)

    def _time(self, when: float) -> None:
        if self.running and self.ran_since is None:
            self.ran_since = when
        elif not self.running and self.ran_since is not None:
            self.ran_seconds, self.ran_since = self.ran(when), None

    def _job(self, state: str, event: Event) -> None:
        self.state = state
        self.reason = event["data"].get("reason") or ""
        if state == "running" and self.started is None:
            self.started = text.seconds_of(event["time"])

    def _sheet(self, sheet: int, state: str, event: Event) -> None:
        data = event["data"]
        self.states[sheet] = state
        self.running.pop(sheet, None)
        self.waiting.pop(sheet, None)
        if state == "running":
            self.running[sheet] = Running(event.get("attempt") or 1, text.seconds_of(event["time"]) or 0.0)
        self._time(text.seconds_of(event["time"]) or 0.0)
        if state != "running" and state not in SHEET_ENDED and (data.get("reason") or data.get("until")):
            self.waiting[sheet] = Waiting(state, data.get("reason") or "", data.get("until"))


def describe(event: Event, board: Board, now: float) -> str:
    """The event as a line for people, or nothing when it says nothing that they need. Asked before `board.apply`."""
    kind, _, what = event["type"].partition(".")
    data = event.get("data") or {}
    if kind == "sheet":
        return _describe_sheet(event, what, board, now)
    if kind == "job" and what == "paused":
        return f"{board.job} is paused{_because(data)}"
    return ""


def _describe_sheet(event: Event, state: str, board: Board, now: float) -> str:
    sheet, data = event["sheet"], event["data"]
    who = f"sheet {sheet} of {board.total}" if board.total > 1 else "the sheet"
    running = board.running.get(sheet)
    if state == "running":
        return f"{who} is running{_again(event)}"
    if state == "pending":
        return f"{who} will run again{_because(data)}" if data.get("reason") else ""
    if state == "moved":
        return f"{who} will run on {data['scope'].partition('/')[0]}{_because(data)}"
    if state in ("waiting", "awaiting"):
        return _retrying(who, event, now) or " ".join(
            filter(None, [f"{who} waits", text.until(data.get("until"), now)])
        ) + _because(data)
    ran = board.worked.get(sheet)
    took = f" in {text.duration(ran)}" if running and ran is not None and state in ("completed", "failed") else ""
    return f"{who} {state}{took}{_because(data)}"


def _retrying(who: str, event: Event, now: float) -> str:
    """`sheet 3 failed (E001 timed out after 2s); retrying in 0.5s (attempt 2 of 3)`; nothing of what waits for a limit."""
    data, due = event["data"], text.seconds_of(event["data"].get("until"))
    mode, of = data.get("mode"), data.get("of")
    if event["type"] != "sheet.waiting" or not mode or due is None:
        return ""
    attempt = f"attempt {(event.get('attempt') or 1) + 1}{f' of {of}' if of else ''}{_mode(mode)}"
    return f"{who} failed ({text.first_line(data.get('reason') or '')}); retrying in {text.duration(due - now)} ({attempt})"


def _mode(mode: str) -> str:
    return "" if mode == "normal" else f", {mode}"


def _again(event: Event) -> str:
    """`, attempt 2 (completion)`."""
    attempt, mode = event.get("attempt") or 1, event["data"].get("mode") or "normal"
    return f", attempt {attempt}{f' ({mode})' if mode != 'normal' else ''}" if attempt > 1 else ""


def _because(data: dict[str, Any]) -> str:
    return f": {text.first_line(data['reason'])}" if data.get("reason") else ""
