"""The book: one change at a time, with everything that follows from it, and its row and event."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from ipc.states import IllegalTransitionError
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from mozartd.coordinator.book import Book
from mozartd.coordinator.journal import Event, Journal
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt, Choice, History, Job, Policy, Sheet
from mozartd.coordinator.requests.modify import replanned
from mozartd.coordinator.settle import interrupt, settle
from mozartd.coordinator.throttle import SAME_SECONDS
from tests.unit.scenes import chain, check_book, make_book, make_job, report, rule

NOW = 1000.0
SCOPE = "command/default/default"


def start(book: Book, job: Job, n: int) -> Attempt:
    return book.start(job, job.sheets[n], "worker", NOW)


def end(book: Book, attempt: Attempt, limits: Limits | None = None, now: float = NOW, **fields: Any) -> None:
    settle(book, limits or Limits(book.journal), attempt, report(attempt=attempt.id, **fields), now, 0.5)


def events(book: Book) -> list[Event]:
    return book.journal.take_unwritten()


def rows(book: Book, statement: str) -> list[dict[str, Any]]:
    return [dict(row) for name, row in book.take_changes() if name == statement]


# ---- changes ------------------------------------------------------------------------------------------------------


def test_a_change_is_a_state_a_row_and_an_event() -> None:
    job = make_job(2)
    book = make_book(job)
    book.change_sheet(job, job.sheets[2], "fail", NOW, "because", code="E505")
    check_book_but_for_the_end(book, job)
    (event,) = events(book)
    assert event[1:] == (NOW, "sheet.failed", job.id, 2, None, {"reason": "because", "until": None, "code": "E505"})
    (row,) = rows(book, "put_sheet")
    assert (row["n"], row["state"], row["reason"]) == (2, "failed", "because")
    assert not book.take_changes()


def check_book_but_for_the_end(book: Book, job: Job) -> None:
    assert job.counts == {"pending": 1, "failed": 1}
    assert job.ready == {SCOPE: [1]}


def test_an_unlisted_change_changes_nothing() -> None:
    job = make_job(1)
    book = make_book(job)
    with pytest.raises(IllegalTransitionError):
        book.change_sheet(job, job.sheets[1], "complete", NOW)
    with pytest.raises(IllegalTransitionError):
        book.change_job(job, "resume", NOW)
    check_book(book)
    assert not events(book)
    assert not book.take_changes()


def test_many_changes_of_a_sheet_are_one_row() -> None:
    job = make_job(1)
    book = make_book(job)
    end(book, start(book, job, 1))
    writes = book.take_changes()
    assert [name for name, _ in writes] == ["put_job", "put_sheet", "put_attempt", "put_attempt"]
    assert [row["state"] for name, row in writes if name == "put_attempt"] == ["running", "ended"]


def test_rows_come_in_an_order_that_satisfies_foreign_keys() -> None:
    book = make_book(make_job(2, 1, max_concurrent=2), make_job(2, 2, max_concurrent=2))
    for job in book.jobs.values():
        for n in (1, 2):
            start(book, job, n)
    kinds = [name for name, _ in book.take_changes()]
    assert kinds == sorted(kinds, key=["put_job", "put_sheet", "put_attempt"].index)


# ---- jobs ---------------------------------------------------------------------------------------------------------


def test_a_job_starts_with_its_first_sheet_and_ends_with_its_last() -> None:
    job = make_job(chain(2))
    book = make_book(job)
    assert job.state is JobState.QUEUED
    attempt = start(book, job, 1)
    assert (job.state, job.started_at) == (JobState.RUNNING, NOW)
    end(book, attempt)
    assert job.state is JobState.RUNNING
    end(book, start(book, job, 2), now=NOW + 5)
    assert (job.state, job.started_at, job.ended_at) == (JobState.COMPLETED, NOW, NOW + 5)
    assert [event.type for event in events(book)] == [
        "job.running", "sheet.running", "attempt.finished", "sheet.completed",
        "sheet.running", "attempt.finished", "sheet.completed", "job.completed",
    ]  # fmt: skip


def test_a_failed_job_says_which_sheet_and_why() -> None:
    job = make_job(1)
    book = make_book(job)
    end(book, start(book, job, 1), code="E505", verdict="missing", message="no such program: x")
    assert job.state is JobState.FAILED
    assert job.reason == "sheet 1 failed: E505 no such program: x"


def test_a_job_of_many_failures_names_ten() -> None:
    job = make_job(12, fail_fast=False, max_concurrent=12)
    book = make_book(job)
    for attempt in [start(book, job, n) for n in range(1, 13)]:
        end(book, attempt, code="E505", verdict="missing")
    assert job.reason == "12 sheets failed: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …"


def test_fail_fast_starts_nothing_new_and_lets_what_runs_finish() -> None:
    job = make_job({1: [], 2: [], 3: [], 4: [2]}, max_concurrent=2)
    book = make_book(job)
    first, second = start(book, job, 1), start(book, job, 2)
    end(book, first, code="E505", verdict="missing")
    check_book(book)
    assert {n: sheet.state.value for n, sheet in job.sheets.items()} == {
        1: "failed", 2: "running", 3: "blocked", 4: "blocked",
    }  # fmt: skip
    assert "fail_fast" in job.sheets[3].reason
    end(book, second)
    assert job.state is JobState.FAILED
    assert job.sheets[2].state is SheetState.COMPLETED


def test_a_cancelled_sheet_blocks_what_depends_on_it() -> None:
    job = make_job({1: [], 2: [1], 3: [2], 4: []})
    book = make_book(job)
    book.cancel_sheet(job, job.sheets[1], NOW, "cancelled")
    check_book(book)
    assert [sheet.state.value for sheet in job.sheets.values()] == ["cancelled", "blocked", "blocked", "pending"]
    assert job.sheets[3].reason == "sheet 1 was cancelled"


def test_what_was_done_before_the_cancel_arrived_is_done() -> None:
    job = make_job(2)
    book = make_book(job)
    attempt = start(book, job, 1)
    job.sheets[1].history.stopping = "cancel"
    end(book, attempt)
    assert job.sheets[1].state is SheetState.COMPLETED


@pytest.mark.parametrize("fields", [{"code": "E009", "verdict": "failed"}, {"code": "E101", "verdict": "rate_limited"},
                                    {"verdict": "interrupted"}, {"verdict": "cancelled"}])  # fmt: skip
def test_any_other_end_of_what_was_to_be_cancelled_is_a_cancellation(fields: dict[str, Any]) -> None:
    job = make_job(2)
    book = make_book(job)
    attempt = start(book, job, 1)
    job.sheets[1].history.stopping = "cancel"
    end(book, attempt, **fields)
    assert job.sheets[1].state is SheetState.CANCELLED
    assert not job.sheets[1].history.stopping


# ---- waiting ------------------------------------------------------------------------------------------------------


def test_a_waiting_sheet_is_ready_at_its_time_and_not_before() -> None:
    job = make_job(1, full_attempts=2)
    book = make_book(job)
    end(book, start(book, job, 1), code="E009", verdict="failed")
    assert job.sheets[1].until == book.next_ripe() == NOW + 1.0
    book.ripen(NOW + 0.999)
    assert job.sheets[1].state is SheetState.WAITING
    book.ripen(NOW + 1.0)
    assert job.ready == {SCOPE: [1]}
    assert book.next_ripe() is None


def test_a_sheet_that_no_longer_waits_is_not_woken() -> None:
    job = make_job(2, full_attempts=2)
    book = make_book(job)
    end(book, start(book, job, 1), code="E009", verdict="failed")
    book.cancel_sheet(job, job.sheets[1], NOW, "cancelled")
    book.ripen(NOW + 99)
    assert job.sheets[1].state is SheetState.CANCELLED


def test_a_forgotten_jobs_waiting_is_forgotten() -> None:
    job = make_job(1, full_attempts=2)
    book = make_book(job)
    end(book, start(book, job, 1), code="E009", verdict="failed")
    book.cancel_sheet(job, job.sheets[1], NOW, "cancelled")
    book.end_if_over(job, NOW)
    book.take_changes()
    for settled in book.take_settled():
        book.forget(settled)
    book.ripen(NOW + 99)
    assert not book.jobs


def test_a_sheet_that_a_new_score_has_not_leaves_no_row_behind() -> None:
    job = make_job(3)
    book = make_book(job)
    book.change_sheet(job, job.sheets[3], "cancel", NOW)
    planned = make_job(2)
    book.replan(job, replanned(job, planned, NOW).job, NOW, {})
    check_book(book)
    assert rows(book, "put_sheet") == [], "those of the version are written by who made it"


def test_what_runs_of_a_job_moves_with_it_to_another_group() -> None:
    job = make_job(2)
    book = make_book(job)
    attempt = start(book, job, 1)
    for group in ("night", "day", ""):
        book.replan(job, replanned(job, make_job(2), NOW).job, NOW, {"group": group, "priority": 7})
        check_book(book)
    assert (job.group, job.priority) == ("", 7)
    end(book, attempt)
    check_book(book)


@pytest.mark.parametrize("code", ["E009", "E101", "E502"])
def test_what_runs_while_a_new_score_comes_runs_again_by_that_one(code: str) -> None:
    """Its attempt goes on being counted where it began; what it met there does not concern the new one."""
    old = {0: [Choice("a/d/d"), Choice("b/d/d"), Choice("c/d/d")]}
    job = make_job(2, scopes={1: "a/d/d", 2: "a/d/d"}, choices=old, full_attempts=3)
    book, limits = make_book(job), Limits(Journal(0))
    book.move(job, job.sheets[1], 2, NOW, "held")
    attempt = start(book, job, 1)
    attempt.ordinal = limits.start(attempt.scope)
    attempt.facts["session_id"] = "s"
    planned = make_job(2, scopes={1: "x/d/d", 2: "x/d/d"}, full_attempts=3)
    book.replan(job, replanned(job, planned, NOW).job, NOW, {})
    end(book, attempt, limits, verdict="crashed", code=code)
    check_book(book)
    sheet = job.sheets[1]
    assert (sheet.scope, sheet.history.choice, sheet.history.session_id) == ("x/d/d", 0, None)
    assert sheet.state is (SheetState.WAITING if code == "E009" else SheetState.PENDING)
    assert job.state is JobState.RUNNING
    assert [throttle.scope for throttle in limits.held(NOW)] == ([] if code == "E009" else ["c/d/d"])
    assert limits.of("c/d/d").running == 0
    assert not +book.running_in


@pytest.mark.parametrize("has_room", [True, False])
def test_a_paused_job_that_has_not_begun_has_not_begun_when_it_is_resumed(has_room: bool) -> None:
    job = make_job(2)
    book = make_book(job)
    book.change_job(job, "pause", NOW)
    book.resume(job, NOW, "by hand", has_room)
    assert (job.state, job.started_at, book.begun) == (JobState.QUEUED, None, 0)
    start(book, job, 1)
    book.change_job(job, "pause", NOW)
    book.resume(job, NOW, "by hand", has_room=False)
    assert job.state is JobState.RUNNING, "a sheet of it runs"
    book.change_job(job, "pause", NOW)
    end(book, book.running["job-1:1:1"])
    book.resume(job, NOW, "by hand", has_room)
    assert job.state is (JobState.RUNNING if has_room else JobState.QUEUED)


# ---- what is settled is on disk -----------------------------------------------------------------------------------


def test_an_end_is_told_when_its_row_is_taken_and_not_before() -> None:
    job = make_job(1)
    book = make_book(job)
    end(book, start(book, job, 1))
    assert book.take_settled() == [], "its row has not been written"
    assert not job.is_over
    book.take_changes()
    assert book.take_settled() == [job]
    assert job.is_over
    assert book.take_settled() == []


def test_a_paused_job_is_over_only_when_nothing_of_it_runs() -> None:
    job = make_job(2, max_concurrent=2)
    book = make_book(job)
    first, second = start(book, job, 1), start(book, job, 2)
    job.sheets[1].history = History(interruptions=4)
    interrupt(book, Limits(book.journal), first, "its worker died", NOW)
    assert job.state is JobState.PAUSED
    book.take_changes()
    assert book.take_settled() == [job]
    assert not job.is_over, "sheet 2 still runs"
    end(book, second)
    assert not job.is_over, "its end is not on disk"
    book.take_changes()
    assert book.take_settled() == [job], "told again: its followers look again"
    assert job.is_over


def test_a_retried_job_is_not_over() -> None:
    job = make_job(1)
    book = make_book(job)
    end(book, start(book, job, 1))
    book.take_changes()
    book.take_settled()
    book.change_job(job, "retry", NOW)
    book.change_sheet(job, job.sheets[1], "retry", NOW)
    assert not job.is_over
    book.take_changes()
    assert book.take_settled() == []
    assert not job.is_over


# ---- rows ---------------------------------------------------------------------------------------------------------


def full_sheet() -> Sheet:
    last: Any = {"verdict": "failed", "code": "E201", "message": "m", "validations": [rule(False)]}
    return Sheet(
        3, 2, 1, 2, 5, 9, (1, 2), "claude_cli/a/b", SheetState.WAITING, "r", 7.5, 4,
        History(1, 2, 3, 4, "completion", "s"), last, 0.25,
    )  # fmt: skip


def test_a_sheets_row_says_all_that_is_not_derived() -> None:
    assert Sheet.of(full_sheet().row(1)) == full_sheet()


def test_a_jobs_row_says_all_that_is_not_derived() -> None:
    policy = Policy(
        **{field.name: 1.5 if isinstance(field.default, float) else field.default for field in fields(Policy)}
        | {"max_concurrent": 9, "fail_fast": False, "skip_when": {2: "sheets[1].status == 'failed'", 11: "True"}}
        | {"choices": {0: [Choice("a/default/default"), Choice("b/default/default", math.inf, False, 1)]}}
    )
    job = Job(
        7, "j-7", "j", "/s.yaml", "/w", -3, "g", 1.0, policy, JobState.PAUSED, "r", "cancel", 2.0, None, 4.0, "j-6", 0.5,
        {"input": 1, "output": 2, "cache_read": 3, "cache_write": 4},
    )  # fmt: skip
    job.counts.update({"completed": 3})
    assert Job.of(job.row()) == job


def test_an_attempts_row_says_all_that_is_not_derived() -> None:
    attempt = Attempt(1, "a:b-1", 2, 3, "completion", "w", 4.0, {"agent_pid": 5})
    assert Attempt.of({**attempt.row("running"), "job": "a:b-1"}) == attempt


# ---- reports ------------------------------------------------------------------------------------------------------


def test_costs_and_tokens_add_up_and_unknown_stays_unknown() -> None:
    job = make_job(3, max_concurrent=3)
    book = make_book(job)
    tokens = {"input": 1, "output": 2, "cache_read": 3, "cache_write": 4}
    attempts = [start(book, job, n) for n in (1, 2, 3)]
    end(book, attempts[0])
    assert (job.cost_usd, job.tokens) == (None, {})
    end(book, attempts[1], cost_usd=0.5, tokens=tokens)
    end(book, attempts[2], cost_usd=0.25, tokens=tokens)
    assert job.cost_usd == 0.75
    assert job.sheets[1].cost_usd is None
    assert job.tokens == {"input": 2, "output": 4, "cache_read": 6, "cache_write": 8}


def test_an_agent_that_claims_absurd_usage_spoils_no_row() -> None:
    """What JSON or the database cannot hold would be tried again for ever, with everybody else's rows."""
    job = make_job(3, max_concurrent=3)
    book = make_book(job)
    for attempt in [start(book, job, n) for n in (1, 2, 3)]:
        claimed = dict.fromkeys(("input", "output", "cache_read", "cache_write"), 2**64 - 1)
        end(book, attempt, tokens=claimed, cost_usd=1e308)
    assert job.state is JobState.COMPLETED
    row = rows(book, "put_job")[0]
    assert Job.of(row).tokens["input"] < 2**53


def test_a_completion_attempt_goes_on_with_the_session_and_a_full_one_does_not() -> None:
    job = make_job(1, full_attempts=3, max_completions=1)
    book = make_book(job)
    end(book, start(book, job, 1), rules=[rule(), rule(False)], session_id="s")
    assert (job.sheets[1].history.mode, job.sheets[1].history.session_id) == ("completion", "s")
    book.ripen(NOW + 99)
    end(book, start(book, job, 1), rules=[rule(), rule(False)], session_id="s")
    assert (job.sheets[1].history.mode, job.sheets[1].history.session_id) == ("normal", None)


def test_the_last_attempt_is_remembered_but_for_one_that_tells_nothing() -> None:
    job = make_job(1, full_attempts=9)
    book = make_book(job)
    end(book, start(book, job, 1), code="E009", verdict="failed", message="first")
    book.ripen(NOW + 99)
    end(book, start(book, job, 1), verdict="interrupted", code="E004", message="second")
    assert job.sheets[1].last is not None
    assert job.sheets[1].last["message"] == "first"


# ---- holds --------------------------------------------------------------------------------------------------------


def test_a_hold_is_set_moved_and_ended_and_each_is_written() -> None:
    book = make_book()
    limits = Limits(book.journal)
    limits.hold("a/b/c", NOW + 10, "r", "e", NOW)
    limits.hold("a/b/c", NOW + 10 + SAME_SECONDS / 2, "again", "e", NOW)
    assert limits.of("a/b/c").until == NOW + 10, "told twice, set once"
    limits.hold("a/b/c", NOW + 60, "later", "e", NOW + 5)
    assert limits.of("a/b/c").since == NOW
    limits.end_due(NOW + 59)
    assert limits.next_time(NOW + 59) == NOW + 60
    assert limits.room("a/b/c", NOW + 59) == 0
    limits.end_due(NOW + 60)
    assert limits.held(NOW + 60) == []
    assert limits.room("a/b/c", NOW + 60) == 1, "one probe goes first"
    (write,) = limits.take_changes()
    assert write[0] == "put_hold"
    assert [event.type for event in events(book)] == ["hold.set", "hold.set", "hold.ended"]


def test_holds_are_what_the_rows_say() -> None:
    limits = Limits(make_book().journal)
    limits.hold("a/b/c", NOW + 10, "r", "e", NOW)
    rows = [row for _, row in limits.take_changes()]
    again = Limits(make_book().journal, rows)
    assert again.held(NOW) == limits.held(NOW)
