"""What a person may still ask of a job, and what he is asked before it is done.

Pure. Called by the handlers in `requests/`: a job that is being cancelled is given no other orders, and what would be lost
without a word is said first (`needs_yes`): a terminal asks, everything else repeats the request with `yes`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ipc.errors import EXIT_USAGE, MozartError
from ipc.states import Job as JobState
from mozartd.coordinator.model import Job


def refuse_if_ending(job: Job, verb: str) -> None:
    """Its cancellation was acknowledged, and its agents are not gone yet."""
    if job.wanted == "cancel":
        hint = f"`mozart wait {job.id}`, then `mozart retry {job.id}`"
        raise MozartError("being_cancelled", f"cannot {verb} {job.id}: it is being cancelled", hint)


def rerun_hint(job: Job) -> str:
    """What to do with a job that has ended. A completed one has nothing to run again unless its sheets are named."""
    if job.state is JobState.COMPLETED:
        return f"`mozart retry {job.id} --from 1` runs it again from sheet 1"
    return f"`mozart retry {job.id}` runs again what did not complete"


def over(state: str) -> str:
    """That it has ended, and how: `it is already cancelled`."""
    return "it is already cancelled" if state == "cancelled" else f"it has already {state}"


def needs_yes(what: str, notes: Sequence[str]) -> MozartError:
    return MozartError("needs_yes", f"cannot {what} without a yes: {'; '.join(notes)}", "add --yes", EXIT_USAGE)


def numbers(chosen: Sequence[int]) -> str:
    """`sheet 3`, `sheets 3, 5, 6`, `sheets 1-4, 9`; the first ones of many."""
    runs: list[list[int]] = []
    for n in sorted(chosen):
        if runs and runs[-1][1] == n - 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    said = [f"{a}" if a == b else f"{a}, {b}" if b == a + 1 else f"{a}-{b}" for a, b in runs[:10]]
    return f"sheet{'s' if len(chosen) > 1 else ''} {', '.join(said)}{', …' if len(runs) > 10 else ''}"
