"""`cancel`: a job, or some of its sheets.

{job, sheets?} → {job, sheets}: the sheets that are cancelled or being stopped. What has not started is cancelled at once; what
runs is stopped by its worker and cancelled when it has ended. Cancelling what has ended is refused.
"""

from __future__ import annotations

import time
from typing import Any

from ipc.errors import MozartError
from ipc.states import JOB_ENDED, SHEET_ENDED
from ipc.states import Sheet as SheetState
from mozartd.coordinator.book import Book
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Job, Sheet
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, numbers = params.text("job"), params.wholes("sheets")
    params.finish()
    job = await parts.registry.find(typed)
    if job.state in JOB_ENDED:
        raise MozartError("job_ended", f"cannot cancel {job.id}: it is {job.state} already", "")
    for n in numbers:
        _check(job, n)
    now = time.time()
    parts.journal.append(now, "asked.cancel", job.id, by=session.who, sheets=numbers)
    stopped = cancel(parts.book, job, numbers, now)
    for sheet in stopped:
        if sheet.state is SheetState.RUNNING:
            parts.crew.stop(job, sheet, "cancel")
    return await parts.once.commit(params.key, {"job": job.id, "sheets": [sheet.n for sheet in stopped]})


def _check(job: Job, n: int) -> None:
    if n not in job.sheets:
        raise MozartError("unknown_sheet", f"cannot cancel sheet {n}: {job.id} has {job.total_sheets} sheets", "")
    if job.sheets[n].state in SHEET_ENDED:
        raise MozartError(
            "sheet_ended", f"cannot cancel sheet {n} of {job.id}: it is {job.sheets[n].state} already", ""
        )


def cancel(book: Book, job: Job, numbers: list[int], now: float) -> list[Sheet]:
    """Cancel these sheets, or the job; gives those it concerned. The running ones are still to be stopped."""
    if not numbers:
        job.wanted = "cancel"
        book.touch(job)
    stopped = []
    # Last first: the ready list is sorted, and shortening a long one at its end costs nothing.
    for n in sorted(set(numbers or job.sheets), reverse=True):
        sheet = job.sheets[n]
        if sheet.state in SHEET_ENDED:
            continue
        if sheet.state is SheetState.RUNNING:
            book.stop(job, sheet, "cancel")
        else:
            book.cancel_sheet(job, sheet, now, "cancelled")
        stopped.append(sheet)
    book.end_if_over(job, now)
    return stopped[::-1]
