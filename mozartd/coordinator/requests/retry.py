"""`retry`: run sheets of an ended job again.

{job, sheets?, from?} → {job, sheets}. Without a choice: what failed, was blocked or cancelled. `sheets`: those; `from`: those
from there on; and what was blocked behind them. Attempts keep their numbers and logs; budgets are granted anew.
"""

from __future__ import annotations

import time
from typing import Any

from ipc.errors import MozartError
from ipc.states import JOB_ENDED
from ipc.states import Sheet as SheetState
from mozartd.coordinator.book import Book
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Job, Sheet
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.recovery import release_if_over

#: Sheets that the event names, at most.
TOLD = 100
_UNDONE = (SheetState.FAILED, SheetState.BLOCKED, SheetState.CANCELLED)


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, numbers, first = params.text("job"), params.wholes("sheets"), params.whole("from")
    params.finish()
    job = await parts.registry.find_whole(typed)
    if job.state not in JOB_ENDED:
        hint = f"mozart cancel {job.id}, or wait until it has ended"
        raise MozartError("job_running", f"cannot retry {job.id}: it is {job.state}", hint)
    chosen = choose(job, numbers, first)
    if job.id not in parts.book.jobs:
        parts.book.add(job)
    now = time.time()
    parts.journal.append(now, "asked.retry", job.id, by=session.who, sheets=[sheet.n for sheet in chosen][:TOLD])
    revive(parts.book, job, chosen, now)
    answer = {"job": job.id, "sheets": [sheet.n for sheet in chosen]}
    parts.turn.write(parts.once.rows(params.key, answer))
    # The job that it was to wait for may have ended while this one had.
    await release_if_over(parts.store, parts.book, job)
    await parts.once.saved(params.key, parts.turn.committed())
    return answer


def revive(book: Book, job: Job, chosen: list[Sheet], now: float) -> None:
    """Make an ended job run these of its sheets."""
    book.change_job(job, "retry", now, "retried")
    job.not_before = 0.0
    for sheet in chosen:
        sheet.history = sheet.history.anew()
        if choices := job.policy.choices_of(sheet.n):
            sheet.scope = choices[sheet.history.choice].scope
        book.change_sheet(job, sheet, "retry", now, "retried")


def choose(job: Job, numbers: list[int], first: int | None) -> list[Sheet]:
    """What is named, and what was blocked behind it. Never a sheet that would wait for one that does not run."""
    unknown = [n for n in [*numbers, *([first] if first is not None else [])] if n not in job.sheets]
    if unknown:
        raise MozartError(
            "unknown_sheet", f"cannot retry sheet {unknown[0]}: {job.id} has {job.total_sheets} sheets", ""
        )
    named = set(numbers)
    if first is not None:
        named = {n for n in job.sheets if n >= first}
    elif not numbers:
        named = {n for n, sheet in job.sheets.items() if sheet.state in _UNDONE}
    if not named:
        raise MozartError(
            "nothing_to_retry", f"cannot retry {job.id}: nothing in it failed", "choose with --sheet or --from"
        )
    chosen = named | {n for n, sheet in job.sheets.items() if sheet.state is SheetState.BLOCKED}
    _drop_hopeless(job, named, chosen)
    return [sheet for n, sheet in job.sheets.items() if n in chosen]


def _drop_hopeless(job: Job, named: set[int], chosen: set[int]) -> None:
    """Take out of `chosen` what needs a sheet that stays undone; that must not have been asked for by name."""
    undone = [n for n, sheet in job.sheets.items() if sheet.state in _UNDONE and n not in chosen]
    while undone:
        n = undone.pop()
        for dependent in chosen.intersection(job.dependents.get(n, ())):
            if dependent in named:
                state = job.sheets[n].state
                message = f"cannot retry sheet {dependent} of {job.id}: it needs sheet {n}, which is {state}"
                raise MozartError("needs_another", message, f"retry sheet {n} too, or mozart retry {job.id}")
            chosen.discard(dependent)
            undone.append(dependent)
