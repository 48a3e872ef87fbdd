"""`cancel`: a job, or some of its sheets.

{job, sheets?} → {job, sheets, already?}: the sheets that are cancelled or being stopped. What has not started is cancelled at
once; what runs is stopped by its worker and cancelled when it has ended. What is cancelled is so `already`; cancelling what has
ended otherwise is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ipc.errors import MozartError
from ipc.states import JOB_ENDED, SHEET_ENDED
from ipc.states import Sheet as SheetState
from mozartd.coordinator.book import Book
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Job, Sheet
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.steps import in_steps
from mozartd.coordinator.wishes import over

#: Sheets that the event names, at most.
TOLD = 100
Stop = Callable[[Job, Sheet, str], None]


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, numbers = params.text("job"), params.wholes("sheets")
    params.finish()
    job = await (parts.registry.find_whole if numbers else parts.registry.find)(typed)
    return await parts.once.enter(params.key, _cancel(parts, job, numbers, params.key, session.who))


async def _cancel(parts: Parts, job: Job, numbers: list[int], key: str, who: str) -> dict[str, Any]:
    async with parts.turn.alone.at(job.id):
        already = _check(job, numbers)
        if not already:
            parts.journal.append(time.time(), "asked.cancel", job.id, by=who, sheets=numbers[:TOLD])
            stopped = await in_steps(parts.turn, cancelling(parts.book, job, numbers, time.time(), parts.crew.stop))
    if already:
        # Also when somebody else cancelled it: it must be on disk before anybody is told so.
        return await parts.once.commit(key, {"job": job.id, "sheets": [], "already": True})
    return await parts.once.commit(key, {"job": job.id, "sheets": stopped[::-1]})


def _check(job: Job, numbers: list[int]) -> bool:
    """Whether it is cancelled already."""
    for n in numbers:
        _check_sheet(job, n)
    if ({job.sheets[n].state.value for n in numbers} or {job.state.value}) == {"cancelled"}:
        return True
    if job.state in JOB_ENDED:
        hint = f"see `mozart status {job.id}`"
        raise MozartError("job_ended", f"cannot cancel {job.id}: {over(job.state)}", hint)
    return False


def _check_sheet(job: Job, n: int) -> None:
    if n not in job.sheets:
        raise MozartError(
            "unknown_sheet",
            f"cannot cancel sheet {n}: {job.id} has {job.total_sheets} sheets",
            f"see `mozart status {job.id}`",
        )
    if job.sheets[n].state in SHEET_ENDED and job.sheets[n].state is not SheetState.CANCELLED:
        raise MozartError(
            "sheet_ended",
            f"cannot cancel sheet {n} of {job.id}: {over(job.sheets[n].state)}",
            f"see `mozart status {job.id}`",
        )


def cancel(book: Book, job: Job, numbers: list[int], now: float) -> list[Sheet]:
    """Cancel these sheets, or the job; gives those it concerned. The running ones are still to be stopped."""
    stopped = [*cancelling(book, job, numbers, now, book.stop)]
    book.end_if_over(job, now)
    return [job.sheets[n] for n in reversed(stopped)]


def cancelling(book: Book, job: Job, numbers: list[int], now: float, stop: Stop) -> Iterator[int]:
    """One sheet after the other, those that it concerns. From the first on nothing of a cancelled job starts, also when the
    rest is left to the next coordinator."""
    if not numbers:
        job.wanted = "cancel"
        book.touch(job)
    # Last first: the ready list is sorted, and shortening a long one at its end costs nothing.
    for n in sorted(set(numbers), reverse=True) if numbers else reversed(job.sheets):
        sheet = job.sheets[n]
        if sheet.state in SHEET_ENDED:
            continue
        if sheet.state is SheetState.RUNNING:
            stop(job, sheet, "cancel")
        else:
            book.cancel_sheet(job, sheet, now, "cancelled")
        yield n
