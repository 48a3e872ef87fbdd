"""On which of its backends a sheet runs, and what becomes of the agent's session."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ipc.states import Sheet as SheetState
from mozartd.coordinator.book import Book
from mozartd.coordinator.fallback import after_failure, choose, reason
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt, Choice, History, Job
from mozartd.coordinator.settle import settle
from tests.unit.scenes import make_book, make_job, report

NOW = 1000.0
A, B, C = "a/default/default", "b/default/default", "c/default/default"
CHOICES: list[Choice] = [Choice(A), Choice(B, 900.0), Choice(C)]


def chosen(held: dict[str, float], first: int = 0) -> int:
    return choose(CHOICES, first, lambda scope: held.get(scope, 0.0), NOW)


def test_a_short_hold_is_waited_out_and_a_long_one_is_not() -> None:
    assert chosen({}) == 0
    assert chosen({A: NOW + 900}) == 0
    assert chosen({A: NOW + 901}) == 1
    assert chosen({A: math.inf, B: NOW + 1}) == 2, "nobody waits for the second: it has a third"
    assert chosen({A: NOW - 5000}) == 0


def test_when_all_are_held_the_first_that_is_free() -> None:
    assert chosen({A: NOW + 1000, B: NOW + 500, C: NOW + 600}) == 1
    assert chosen({A: math.inf, B: math.inf, C: math.inf}) == 0


def test_a_missing_program_is_passed_over() -> None:
    assert chosen({}, first=1) == 1
    assert chosen({B: NOW + 99}, first=1) == 2
    assert chosen({B: NOW + 99, C: math.inf}, first=1) == 1


@given(st.lists(st.floats(0, 9999), min_size=3, max_size=3), st.integers(0, 2))
def test_it_is_always_one_that_may_be(waits: list[float], first: int) -> None:
    held = {choice.scope: NOW + wait for choice, wait in zip(CHOICES, waits, strict=True)}
    found = chosen(held, first)
    assert first <= found <= 2
    if waits[found] > 900:
        assert all(waits[found] <= wait for wait in waits[first:])


def test_what_may_never_be_taken_for_a_hold_is_not() -> None:
    choices = [Choice(A), Choice(B, math.inf)]
    for until in (NOW + 1e9, math.inf):
        assert choose(choices, 0, {A: until, B: 0.0}.__getitem__, NOW) == 0
    assert after_failure(choices, 0, is_missing=True) == 0


def test_a_failure_leads_where_it_shall() -> None:
    own = [Choice(A, on_failure=2), Choice(B), Choice(C)]
    assert [after_failure(own, i, is_missing=False) for i in range(3)] == [2, 0, 0]
    assert [after_failure(own, i, is_missing=True) for i in range(3)] == [2, 2, 0]
    assert after_failure([], 0, is_missing=True) == 0


def test_an_attempt_says_why_it_runs_where_it_runs() -> None:
    assert reason(CHOICES, History()) == ""
    assert reason(CHOICES, History(complexity="simple")) == "simple"
    assert reason(CHOICES, History(choice=1, first=1, passed_over="a failed", complexity="simple")) == "a failed"
    assert (
        reason(CHOICES, History(choice=2, first=1, passed_over="a failed")) == f"{B} was held for longer than max_wait"
    )
    assert reason([], History()) == ""


# ---- what an attempt's end leads to ---------------------------------------------------------------------------------


def begin(job: Job, book: Book) -> Attempt:
    book.ripen(NOW + 1e6)
    return book.start(job, job.sheets[1], "w", NOW)


def end(book: Book, limits: Limits, attempt: Attempt, *values: str, **fields: Any) -> None:
    settle(book, limits, attempt, report(*values, **fields), NOW, 0.0)


def scene(*choices: Choice, **policy: Any) -> tuple[Job, Book, Limits]:
    job = make_job(1, scopes={1: A}, choices={0: list(choices)} if choices else {}, **{"full_attempts": 3, **policy})
    book = make_book(job)
    return job, book, Limits(book.journal)


def test_a_missing_program_sends_the_sheet_on_and_spends_nothing() -> None:
    job, book, limits = scene(*CHOICES)
    for choice in (0, 1):
        assert choose(CHOICES, job.sheets[1].history.first, limits.held_until, NOW) == choice
        end(book, limits, begin(job, book), "missing", "E505", exit_code=None)
        assert job.sheets[1].state is SheetState.PENDING
        assert job.sheets[1].history.attempts == 0
        book.move(job, job.sheets[1], choice + 1, NOW, "missing")
        assert job.sheets[1].scope == CHOICES[choice + 1].scope
    end(book, limits, begin(job, book), "missing", "E505", exit_code=None)
    assert job.sheets[1].state is SheetState.FAILED


def test_what_ollama_fails_at_goes_to_claude_and_spends_nothing() -> None:
    choices = [Choice(A, on_failure=2), Choice(B), Choice(C)]
    for code, goes in (("E501", True), ("E507", True), ("E001", True), ("E203", False), ("", False)):
        job, book, limits = scene(*choices)
        end(book, limits, begin(job, book), "failed", code)
        sheet = job.sheets[1]
        assert (sheet.history.first, sheet.history.attempts) == ((2, 0) if goes else (0, 1)), code
        assert sheet.state is (SheetState.PENDING if goes else SheetState.WAITING)
        assert sheet.history.passed_over.startswith(f"a failed: {code} ") == goes
        assert sheet.history.anew() == History()


def test_a_long_hold_does_not_keep_the_sheet_and_a_short_one_does() -> None:
    for seconds, state in ((1000.0, SheetState.PENDING), (100.0, SheetState.WAITING)):
        job, book, limits = scene(*CHOICES)
        limit = {"until": NOW + seconds, "retry_after": None, "kind": "requests"}
        end(book, limits, begin(job, book), "rate_limited", "E101", limit=limit)
        assert job.sheets[1].state is state


def test_a_login_that_is_gone_pauses_the_job_only_without_a_fallback() -> None:
    for choices, state in (((), "paused"), (CHOICES, "running")):
        job, book, limits = scene(*choices)
        end(book, limits, begin(job, book), "auth", "E502")
        assert job.state.value == state


def test_what_was_cut_short_goes_on_in_its_session() -> None:
    for verdict, code in (("interrupted", "E004"), ("truncated", "E503"), ("rate_limited", "E101")):
        job, book, limits = scene()
        history = job.sheets[1].history
        tokens = {"input": 5, "output": 2, "cache_read": 0, "cache_write": 0}
        end(book, limits, begin(job, book), verdict, code, session_id="s", tokens=tokens)
        assert (history.mode, history.session_id, history.used["input"]) == ("resume", "s", 5), verdict
        end(book, limits, begin(job, book), verdict, code, session_id="s", tokens=tokens)
        assert (history.mode, history.session_id, history.used["input"]) == ("resume", "s", 10), "of the whole session"


def test_a_failure_starts_anew() -> None:
    job, book, limits = scene()
    end(book, limits, begin(job, book), "failed", "E009", session_id="s")
    assert (job.sheets[1].history.mode, job.sheets[1].history.session_id) == ("normal", None)


def test_never_means_never() -> None:
    job, book, limits = scene(Choice(A, resumes=False))
    end(book, limits, begin(job, book), "interrupted", "E004", session_id="s")
    assert (job.sheets[1].history.mode, job.sheets[1].history.session_id) == ("normal", None)


def test_a_session_that_is_gone_costs_no_retry() -> None:
    job, book, limits = scene()
    end(book, limits, begin(job, book), "interrupted", "E004", session_id="s")
    attempt = begin(job, book)
    assert attempt.mode == "resume"
    end(book, limits, attempt, "no_session", "E009", exit_code=1)
    history = job.sheets[1].history
    assert (history.mode, history.session_id, history.attempts, history.interruptions) == ("normal", None, 0, 1)
    assert job.sheets[1].state is SheetState.PENDING
    end(book, limits, begin(job, book), "no_session", "E009", exit_code=1)
    assert job.sheets[1].history.attempts == 1, "it was not told to continue one: that is a failure as any other"


def test_a_session_does_not_follow_to_another_agent() -> None:
    job, book, limits = scene(*CHOICES)
    end(book, limits, begin(job, book), "interrupted", "E004", session_id="s")
    book.move(job, job.sheets[1], 1, NOW, "held")
    assert (job.sheets[1].history.mode, job.sheets[1].history.session_id) == ("normal", None)
    assert job.ready == {B: [1]}
