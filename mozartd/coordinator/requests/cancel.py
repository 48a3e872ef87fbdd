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
    chosen = [_sheet(job, n) for n in numbers] or list(job.sheets.values())
    if not numbers:
        job.wanted = "cancel"
        parts.book.touch(job)
    now = time.time()
    stopped = [sheet.n for sheet in chosen if _cancel(parts, job, sheet, now)]
    parts.book.end_if_over(job, now)
    await parts.turn.committed()
    return {"job": job.id, "sheets": stopped}


def _sheet(job: Job, n: int) -> Sheet:
    if n not in job.sheets:
        raise MozartError("unknown_sheet", f"cannot cancel sheet {n}: {job.id} has {job.total_sheets} sheets", "")
    if job.sheets[n].state in SHEET_ENDED:
        raise MozartError(
            "sheet_ended", f"cannot cancel sheet {n} of {job.id}: it is {job.sheets[n].state} already", ""
        )
    return job.sheets[n]


def _cancel(parts: Parts, job: Job, sheet: Sheet, now: float) -> bool:
    if sheet.state in SHEET_ENDED:
        return False
    if sheet.state is not SheetState.RUNNING:
        parts.book.cancel_sheet(job, sheet, now, "cancelled")
        return True
    parts.crew.stop(job, sheet, "cancel")
    return True
