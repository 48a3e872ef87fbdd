"""The JSON shapes of the contract (cli.md), from jobs, sheets, rows and events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.states import Sheet as SheetState
from mozartd.coordinator.describe import (
    attempt_json,
    event_json,
    job_json,
    rfc3339,
    running_progress,
    sheet_json,
)
from mozartd.coordinator.journal import Event
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt
from mozartd.coordinator.settle import settle
from tests.unit.scenes import make_book, make_job, report, rule

JOB_KEYS = {
    "id", "name", "state", "reason", "score", "workspace", "submitted_at", "started_at", "ended_at", "priority", "group",
    "sheets", "cost_usd", "tokens",
}  # fmt: skip
SHEET_KEYS = {
    "n", "stage", "instance", "state", "reason", "until", "dependencies", "backend", "attempts", "cost_usd", "validations",
}  # fmt: skip
ATTEMPT_KEYS = {
    "k", "mode", "state", "verdict", "code", "message", "hint", "evidence", "exit_code", "signal", "worker_pid", "agent_pid",
    "started_at", "ended_at", "log", "bytes", "lines", "cost_usd", "tokens", "session_id", "model",
    "backend", "backend_reason", "interrupted",
}  # fmt: skip


@given(st.floats(0, 4e9))
def test_times_are_rfc_3339_utc_with_milliseconds(when: float) -> None:
    text = rfc3339(when)
    assert text is not None
    assert len(text) == len("2026-11-23T02:15:06.123Z")
    assert abs(datetime.fromisoformat(text).timestamp() - when) <= 0.000501
    assert datetime.fromisoformat(text).tzinfo == UTC


def test_no_time_is_null() -> None:
    assert rfc3339(None) is None
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(0.9996) == "1970-01-01T00:00:01.000Z"


def test_a_job() -> None:
    job = make_job({1: [], 2: [1]})
    shown = job_json(job)
    assert shown.keys() >= JOB_KEYS
    assert (shown["id"], shown["state"], shown["sheets"]) == ("job-1", "queued", {"pending": 2})
    assert (shown["submitted_at"], shown["started_at"]) == ("1970-01-01T00:00:00.000Z", None)
    assert shown["cost_usd"] is None, "unknown, which is not nothing"
    assert shown["tokens"] == {"input": None, "output": None, "cache_read": None, "cache_write": None}
    job.tokens = {"input": 0, "output": 2, "cache_read": 0, "cache_write": 0}
    assert job_json(job)["tokens"] == job.tokens, "reported: nothing is nothing"


def test_counts_show_what_there_is() -> None:
    job = make_job(2)
    book = make_book(job)
    book.change_sheet(job, job.sheets[1], "skip", 1.0)
    assert job_json(job)["sheets"] == {"pending": 1, "skipped": 1}
    assert +book.counts == {"pending": 1, "skipped": 1}
    book.change_sheet(job, job.sheets[2], "cancel", 1.0)
    assert job_json(job)["sheets"] == {"skipped": 1, "cancelled": 1}


def test_a_sheet_and_what_was_checked() -> None:
    job = make_job({1: [], 2: [1]}, full_attempts=2)
    book = make_book(job)
    attempt = book.start(job, job.sheets[1], "w", 1.0)
    failed = report(attempt=attempt.id, rules=[rule(False, detail="no file a")])
    settle(book, Limits(book.journal, []), attempt, failed, 2.0, 0.5)
    shown = sheet_json(job, job.sheets[1], [])
    assert shown.keys() == SHEET_KEYS
    assert (shown["state"], shown["until"]) == (SheetState.WAITING, "1970-01-01T00:00:03.000Z")
    assert shown["backend"] == "command"
    assert shown["validations"] == [
        {"type": "file_exists", "description": "a file", "passed": False, "detail": "no file a"}
    ]
    assert sheet_json(job, job.sheets[2], [])["dependencies"] == [1]
    assert sheet_json(job, job.sheets[2], [])["validations"] == []


def attempt_row(state: str, **facts: Any) -> dict[str, Any]:
    return Attempt(1, "job-1", 2, 3, "normal", "w", 4.0, facts).row(state)


def test_a_running_attempt() -> None:
    shown = attempt_json(attempt_row("running", agent_pid=7, started_at=1.0), "/log")
    assert shown.keys() == ATTEMPT_KEYS
    assert (shown["k"], shown["state"], shown["agent_pid"], shown["verdict"]) == (3, "running", 7, None)
    assert (shown["started_at"], shown["ended_at"], shown["log"]) == ("1970-01-01T00:00:01.000Z", None, "/log")
    assert shown["interrupted"] is False


@pytest.mark.parametrize(("verdict", "interrupted"), [("ok", False), ("interrupted", True)])
def test_an_ended_attempt(verdict: str, interrupted: bool) -> None:
    shown = attempt_json(attempt_row("ended", verdict=verdict, ended_at=5.0, exit_code=0), "/log")
    assert (shown["verdict"], shown["interrupted"], shown["exit_code"]) == (verdict, interrupted, 0)


def test_a_running_attempt_shows_what_it_has_said_since() -> None:
    job = make_job(2)
    rows: list[dict[str, Any]] = [{"n": 1, "attempts": [{"k": 1, "bytes": 0, "lines": 0}]}, {"n": 2, "attempts": []}]
    running = {"job-1:1:1": Attempt(1, "job-1", 1, 1, "normal", "w", 0.0, {"bytes": 10, "lines": 2})}
    running_progress(rows, job, running)
    assert rows[0]["attempts"] == [{"k": 1, "bytes": 10, "lines": 2}]


def test_an_event_names_only_what_it_is_about() -> None:
    assert event_json(Event(1, 2.0, "daemon.started", None, None, None, {"pid": 3})) == {
        "id": 1, "time": "1970-01-01T00:00:02.000Z", "type": "daemon.started", "data": {"pid": 3},
    }  # fmt: skip
    shown = event_json(Event(1, 2.0, "sheet.waiting", "job-1", 2, 3, {"until": 4.0}))
    assert (shown["job"], shown["sheet"], shown["attempt"]) == ("job-1", 2, 3)
    assert shown["data"]["until"] == "1970-01-01T00:00:04.000Z"


def test_an_event_is_not_changed_by_being_shown() -> None:
    event = Event(1, 2.0, "hold.set", None, None, None, {"until": 4.0})
    event_json(event)
    assert event.data == {"until": 4.0}
