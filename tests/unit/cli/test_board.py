"""A job as its events tell it."""

from __future__ import annotations

from typing import Any

import pytest

from cli.board import Board, describe
from cli.summary import summary
from ipc.shown import Stream

NOON = 1795435200.0  # 2026-11-23T12:00:00Z


def event(kind: str, sheet: int | None = None, attempt: int | None = None, **data: Any) -> dict[str, Any]:
    found = {
        "id": 1,
        "time": "2026-11-23T12:00:00.000Z",
        "type": kind,
        "data": data,
        "sheet": sheet,
        "attempt": attempt,
    }
    return {key: value for key, value in found.items() if value is not None}


def board(*events: dict[str, Any], total: int = 3) -> Board:
    made = Board("song-1", total)
    for one in events:
        made.apply(one)
    return made


def test_it_counts_what_no_event_named_as_pending() -> None:
    shown = board(event("job.running"), event("sheet.running", 2, 1))
    assert shown.counts() == {"running": 1, "pending": 2}
    assert (shown.state, shown.started, shown.done()) == ("running", NOON, 0)


def test_a_sheet_is_in_one_place_only() -> None:
    shown = board(event("sheet.running", 1, 1), event("sheet.waiting", 1, 1, reason="E202 no", until=None))
    assert (list(shown.running), list(shown.waiting)) == ([], [1])
    shown.apply(event("sheet.pending", 1, 1))
    assert (list(shown.running), list(shown.waiting)) == ([], [])
    shown.apply(event("sheet.running", 1, 2))
    shown.apply(event("sheet.completed", 1, 2))
    assert (shown.counts(), shown.done()) == ({"completed": 1, "pending": 2}, 1)


def test_costs_add_up_over_attempts() -> None:
    shown = board(event("attempt.finished", 1, 1, cost_usd=0.25), event("attempt.finished", 1, 2, cost_usd=None))
    assert shown.cost_usd == 0.25


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (event("sheet.running", 1, 1, mode="normal"), "sheet 1 of 3 is running"),
        (event("sheet.running", 1, 2, mode="completion"), "sheet 1 of 3 is running, attempt 2 (completion)"),
        (event("sheet.completed", 2, 1, reason=""), "sheet 2 of 3 completed in 1m30s"),
        (event("sheet.failed", 2, 1, reason="E001 timeout"), "sheet 2 of 3 failed in 1m30s: E001 timeout"),
        (event("sheet.blocked", 3, reason="sheet 2 failed"), "sheet 3 of 3 blocked: sheet 2 failed"),
        (event("sheet.pending", 3), ""),
        (event("sheet.pending", 3, reason="its worker died"), "sheet 3 of 3 will run again: its worker died"),
        (
            event(
                "sheet.waiting", 1, 1, reason="E001 timed out", until="2026-11-23T12:01:30.500Z", mode="normal", of=3
            ),
            "sheet 1 of 3 failed (E001 timed out); retrying in 0.5s (attempt 2 of 3)",
        ),
        (event("sheet.awaiting", 3, reason="approve it"), "sheet 3 of 3 waits: approve it"),
        (event("job.paused", reason="by hand"), "song-1 is paused: by hand"),
        (event("attempt.started", 1, 1), ""),
        (event("something.new"), ""),
    ],
)
def test_events_are_said_in_a_line(one: dict[str, Any], said: str) -> None:
    shown = board(event("sheet.running", 2, 1), event("attempt.finished", 2, 1, seconds=90.0))
    assert describe(one, shown, NOON + 90) == said


def test_a_job_of_one_sheet_has_the_sheet() -> None:
    assert describe(event("sheet.running", 1, 1), board(total=1), NOON) == "the sheet is running"


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m\n", "\x1b[1;31mred\x1b[0m\n"),
        (b"\x1b[2J\x1b[10;3Hgone", "gone"),
        (b"\x1b]0;title\x07text\x1b]8;;x\x1b\\link", "textlink"),
        (b"a\x07b\x00c\x9b", "abc\ufffd"),
        (b"\xc2\x9b2Jx", "2Jx"),
        (b"10%\r50%\r100%\nnext\r\n", "100%\nnext\n"),
        (b"tab\tstays", "tab\tstays"),
        (b"\x1b", ""),
    ],
)
def test_nothing_but_colours_reaches_the_terminal(data: bytes, shown: str) -> None:
    stream = Stream(colours=True, rewrites=True)
    assert (stream.feed(data) + stream.finish()).decode() == shown


def sheet(n: int, state: str, **more: Any) -> dict[str, Any]:
    return {
        "n": n,
        "state": state,
        "reason": "",
        "until": None,
        "attempts": [],
        "cost_usd": None,
        "validations": [],
        **more,
    }


def attempt(**more: Any) -> dict[str, Any]:
    return {"k": 1, "started_at": None, "ended_at": None, "code": "", "message": "", "hint": "", "evidence": "", **more}


def answer(sheets: list[dict[str, Any]], state: str = "failed") -> dict[str, Any]:
    counts: dict[str, int] = {}
    for one in sheets:
        counts[one["state"]] = counts.get(one["state"], 0) + 1
    job = {
        "id": "song-1",
        "state": state,
        "reason": "",
        "sheets": counts,
        "cost_usd": 0.5,
        "started_at": None,
        "ended_at": None,
    }
    return {"job": job, "sheets": sheets}


def test_the_summary_explains_a_failure() -> None:
    last = attempt(
        k=2, code="E505", message="cannot find claude", hint="install it", evidence="sh: claude: not found\nmore"
    )
    rule = {"type": "file_exists", "description": "", "passed": False, "detail": "no report.md"}
    shown = summary(
        answer([sheet(1, "completed"), sheet(2, "failed", attempts=[attempt(), last], validations=[rule])]), NOON
    )
    for line in (
        "sheet 2: E505 cannot find claude",
        "  validation failed: file_exists (no report.md)",
        "  evidence: sh: claude: not found",
        "  hint: install it",
        "  log: mozart logs song-1 --sheet 2 --attempt 2",
        "song-1 failed: 1 completed, 1 failed, $0.50",
    ):
        assert line in shown.splitlines()


def test_the_summary_of_many_sheets_lists_those_that_need_a_look() -> None:
    sheets = [sheet(n, "failed" if n % 100 == 0 else "completed") for n in range(1, 2001)]
    shown = summary(answer(sheets), NOON)
    assert len(shown.splitlines()) < 60
    assert "15 more failed: see `mozart status song-1`" in shown
