"""The states of a job and of a sheet, and the one table of what may follow what.

A leaf: imports nothing of ours. The coordinator alone applies it (`mozartd.coordinator.book`); the CLI reads the names;
the diagram in ARCHITECTURE.md is generated from it (`python -m ipc.states`). An unlisted pair is an error.
"""

from __future__ import annotations

from enum import StrEnum


class Job(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Sheet(StrEnum):
    PENDING = "pending"
    """Never started, or ready to run again: starts as soon as `plan` has room for it."""
    RUNNING = "running"
    WAITING = "waiting"
    """Between two attempts, until a time."""
    AWAITING = "awaiting"
    """Needs a person."""
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    """Something it depends on failed for good."""
    CANCELLED = "cancelled"


JOB_ENDED = frozenset({Job.COMPLETED, Job.FAILED, Job.CANCELLED})
SHEET_ENDED = frozenset({Sheet.COMPLETED, Sheet.FAILED, Sheet.SKIPPED, Sheet.BLOCKED, Sheet.CANCELLED})
#: Ends that let dependents start.
SHEET_SATISFIED = frozenset({Sheet.COMPLETED, Sheet.SKIPPED})

JOB_TRANSITIONS: dict[tuple[Job, str], Job] = {
    (Job.QUEUED, "start"): Job.RUNNING,
    (Job.QUEUED, "pause"): Job.PAUSED,
    (Job.QUEUED, "complete"): Job.COMPLETED,
    (Job.QUEUED, "fail"): Job.FAILED,
    (Job.QUEUED, "cancel"): Job.CANCELLED,
    (Job.RUNNING, "pause"): Job.PAUSED,
    (Job.RUNNING, "complete"): Job.COMPLETED,
    (Job.RUNNING, "fail"): Job.FAILED,
    (Job.RUNNING, "cancel"): Job.CANCELLED,
    (Job.PAUSED, "resume"): Job.RUNNING,
    (Job.PAUSED, "requeue"): Job.QUEUED,
    (Job.PAUSED, "complete"): Job.COMPLETED,
    (Job.PAUSED, "fail"): Job.FAILED,
    (Job.PAUSED, "cancel"): Job.CANCELLED,
    (Job.COMPLETED, "retry"): Job.QUEUED,
    (Job.FAILED, "retry"): Job.QUEUED,
    (Job.CANCELLED, "retry"): Job.QUEUED,
}

SHEET_TRANSITIONS: dict[tuple[Sheet, str], Sheet] = {
    (Sheet.PENDING, "start"): Sheet.RUNNING,
    (Sheet.PENDING, "skip"): Sheet.SKIPPED,
    (Sheet.PENDING, "fail"): Sheet.FAILED,
    (Sheet.PENDING, "block"): Sheet.BLOCKED,
    (Sheet.PENDING, "await"): Sheet.AWAITING,
    (Sheet.PENDING, "cancel"): Sheet.CANCELLED,
    (Sheet.RUNNING, "complete"): Sheet.COMPLETED,
    (Sheet.RUNNING, "skip"): Sheet.SKIPPED,
    (Sheet.RUNNING, "wait"): Sheet.WAITING,
    (Sheet.RUNNING, "interrupt"): Sheet.PENDING,
    (Sheet.RUNNING, "await"): Sheet.AWAITING,
    (Sheet.RUNNING, "fail"): Sheet.FAILED,
    (Sheet.RUNNING, "cancel"): Sheet.CANCELLED,
    (Sheet.WAITING, "ready"): Sheet.PENDING,
    (Sheet.WAITING, "fail"): Sheet.FAILED,
    (Sheet.WAITING, "block"): Sheet.BLOCKED,
    (Sheet.WAITING, "cancel"): Sheet.CANCELLED,
    (Sheet.AWAITING, "ready"): Sheet.PENDING,
    (Sheet.AWAITING, "fail"): Sheet.FAILED,
    (Sheet.AWAITING, "block"): Sheet.BLOCKED,
    (Sheet.AWAITING, "cancel"): Sheet.CANCELLED,
    (Sheet.COMPLETED, "retry"): Sheet.PENDING,
    (Sheet.FAILED, "retry"): Sheet.PENDING,
    (Sheet.SKIPPED, "retry"): Sheet.PENDING,
    (Sheet.BLOCKED, "retry"): Sheet.PENDING,
    (Sheet.CANCELLED, "retry"): Sheet.PENDING,
}


class IllegalTransitionError(Exception):
    """A pair that the table does not list: a bug in the caller, never a user's mistake."""


def next_job_state(state: Job, event: str) -> Job:
    try:
        return JOB_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(f"a {state} job cannot {event}") from None


def next_sheet_state(state: Sheet, event: str) -> Sheet:
    try:
        return SHEET_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(f"a {state} sheet cannot {event}") from None


def diagram() -> str:
    """Both tables as Mermaid, as ARCHITECTURE.md shows them (a convention test compares)."""
    lines = []
    for title, table in (("Job", JOB_TRANSITIONS), ("Sheet", SHEET_TRANSITIONS)):
        lines += [f"**{title}**", "", "```mermaid", "stateDiagram-v2"]
        lines += [f"    {state} --> {after}: {event}" for (state, event), after in table.items()]
        lines += ["```", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(diagram())
