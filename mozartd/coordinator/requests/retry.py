"""`retry`: run sheets of an ended job again.

{job, sheets?, from?} → {job, sheets}. Without a choice: what failed, was blocked or cancelled. `sheets`: those, and what was
blocked behind them; `from`: every sheet from that number on. Attempts keep their numbers and logs; budgets are granted anew.
"""

from __future__ import annotations

import time
from typing import Any

from ipc.errors import MozartError
from ipc.states import JOB_ENDED
from ipc.states import Sheet as SheetState
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import History, Job, Sheet
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts

_UNDONE = (SheetState.FAILED, SheetState.BLOCKED, SheetState.CANCELLED)


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, numbers, first = params.text("job"), params.wholes("sheets"), params.whole("from")
    params.finish()
    job = await parts.registry.find_whole(typed)
    if job.state not in JOB_ENDED:
        hint = f"mozart cancel {job.id}, or wait until it has ended"
        raise MozartError("job_running", f"cannot retry {job.id}: it is {job.state}", hint)
    chosen = _choose(job, numbers, first)
    if not chosen:
        raise MozartError(
            "nothing_to_retry", f"cannot retry {job.id}: nothing in it failed", "choose with --sheet or --from"
        )
    now = time.time()
    if job.id not in parts.book.jobs:
        parts.book.add(job)
    parts.book.change_job(job, "retry", now, "retried")
    job.not_before = 0.0
    for sheet in chosen:
        sheet.history = History()
        parts.book.change_sheet(job, sheet, "retry", now, "retried")
    await parts.turn.committed()
    return {"job": job.id, "sheets": [sheet.n for sheet in chosen]}


def _choose(job: Job, numbers: list[int], first: int | None) -> list[Sheet]:
    unknown = [n for n in [*numbers, *([first] if first is not None else [])] if n not in job.sheets]
    if unknown:
        raise MozartError(
            "unknown_sheet", f"cannot retry sheet {unknown[0]}: {job.id} has {job.total_sheets} sheets", ""
        )
    if first is not None:
        return [sheet for n, sheet in job.sheets.items() if n >= first]
    if numbers:
        return [sheet for n, sheet in job.sheets.items() if n in numbers or sheet.state is SheetState.BLOCKED]
    return [sheet for sheet in job.sheets.values() if sheet.state in _UNDONE]
