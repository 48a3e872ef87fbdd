"""The transition table: everything can be reached, what has ended is left by `retry` alone, the rest is an error."""

from __future__ import annotations

from enum import StrEnum

import pytest

from ipc import states
from ipc.states import (
    JOB_ENDED,
    JOB_TRANSITIONS,
    SHEET_ENDED,
    SHEET_SATISFIED,
    SHEET_TRANSITIONS,
    IllegalTransitionError,
    Job,
    Sheet,
    diagram,
    next_job_state,
    next_sheet_state,
)

JOB_EVENTS = {event for _, event in JOB_TRANSITIONS}
SHEET_EVENTS = {event for _, event in SHEET_TRANSITIONS}


def reachable(table: dict[tuple[StrEnum, str], StrEnum], first: StrEnum) -> set[StrEnum]:
    found, new = set(), {first}
    while new:
        found |= new
        new = {after for (before, _), after in table.items() if before in found} - found
    return found


def test_every_job_state_can_be_reached() -> None:
    assert reachable(dict(JOB_TRANSITIONS), Job.QUEUED) == set(Job)


def test_every_sheet_state_can_be_reached() -> None:
    assert reachable(dict(SHEET_TRANSITIONS), Sheet.PENDING) == set(Sheet)


@pytest.mark.parametrize("state", Job)
def test_an_end_can_be_reached_from_every_job_state(state: Job) -> None:
    assert reachable(dict(JOB_TRANSITIONS), state) >= JOB_ENDED


@pytest.mark.parametrize("state", Sheet)
def test_an_end_can_be_reached_from_every_sheet_state(state: Sheet) -> None:
    assert reachable(dict(SHEET_TRANSITIONS), state) >= SHEET_ENDED


def test_what_has_ended_is_left_by_retry_alone_and_begins_anew() -> None:
    jobs = {(state, event): after for (state, event), after in JOB_TRANSITIONS.items() if state in JOB_ENDED}
    assert jobs == {(state, "retry"): Job.QUEUED for state in JOB_ENDED}
    sheets = {(state, event): after for (state, event), after in SHEET_TRANSITIONS.items() if state in SHEET_ENDED}
    assert sheets == {(state, "retry"): Sheet.PENDING for state in SHEET_ENDED}


def test_an_end_that_satisfies_is_an_end() -> None:
    assert SHEET_SATISFIED < SHEET_ENDED


@pytest.mark.parametrize("state", Job)
def test_a_job_does_what_is_listed_and_nothing_else(state: Job) -> None:
    for event in JOB_EVENTS:
        if (state, event) in JOB_TRANSITIONS:
            assert next_job_state(state, event) is JOB_TRANSITIONS[state, event]
        else:
            with pytest.raises(IllegalTransitionError, match=f"a {state} job cannot {event}"):
                next_job_state(state, event)


@pytest.mark.parametrize("state", Sheet)
def test_a_sheet_does_what_is_listed_and_nothing_else(state: Sheet) -> None:
    for event in SHEET_EVENTS:
        if (state, event) in SHEET_TRANSITIONS:
            assert next_sheet_state(state, event) is SHEET_TRANSITIONS[state, event]
        else:
            with pytest.raises(IllegalTransitionError, match=f"a {state} sheet cannot {event}"):
                next_sheet_state(state, event)


def test_an_unknown_event_is_an_error() -> None:
    with pytest.raises(IllegalTransitionError):
        next_job_state(Job.RUNNING, "explode")
    with pytest.raises(IllegalTransitionError):
        next_sheet_state(Sheet.RUNNING, "explode")


@pytest.mark.parametrize("event", ["fail", "cancel"])
def test_everything_that_has_not_ended_can_fail_or_be_cancelled(event: str) -> None:
    """So that no failure and no cancellation ever finds a sheet that cannot obey."""
    assert all((state, event) in SHEET_TRANSITIONS for state in set(Sheet) - SHEET_ENDED)
    assert all((state, event) in JOB_TRANSITIONS for state in set(Job) - JOB_ENDED)


def test_the_diagram_shows_every_transition_once() -> None:
    lines = diagram().splitlines()
    arrows = [line.strip() for line in lines if "-->" in line]
    expected = [
        f"{state} --> {after}: {event}"
        for table in (JOB_TRANSITIONS, SHEET_TRANSITIONS)
        for (state, event), after in table.items()  # type: ignore[attr-defined]
    ]
    assert arrows == expected
    assert lines.count("```mermaid") == lines.count("```") == 2


def test_the_states_are_a_leaf() -> None:
    """They import nothing of ours, so everybody may import them."""
    ours = ("ipc", "mozartd", "workers", "backends", "cli")
    found = [value for value in vars(states).values() if getattr(value, "__module__", "").startswith(ours)]
    assert {value.__module__ for value in found} == {"ipc.states"}
