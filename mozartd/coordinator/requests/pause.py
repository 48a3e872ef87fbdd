"""`pause`: start nothing more of a job.

{job, now} → {job, sheets, already?}: the sheets that it keeps from starting. What runs goes on to its end; with `now` its
agents are stopped, and run again when the job is resumed. Nothing is spent. `already`: it was paused, and nothing
had to be stopped.
"""

from __future__ import annotations

import time
from typing import Any

from ipc.errors import MozartError
from ipc.states import JOB_ENDED
from ipc.states import Job as JobState
from mozartd.coordinator.clients import Session
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.steps import open_sheets, yielding
from mozartd.coordinator.wishes import over, refuse_if_ending, rerun_hint


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, at_once = params.text("job"), params.flag("now")
    params.finish()
    job = await parts.registry.find(typed)
    kept = [sheet.n async for sheet in yielding(await open_sheets(job))]
    await parts.turn.alone.opened(job.id)
    if job.state in JOB_ENDED:
        raise MozartError("job_ended", f"cannot pause {job.id}: {over(job.state)}", rerun_hint(job))
    refuse_if_ending(job, "pause")
    running = sorted(job.running) if at_once else []
    if job.state is JobState.PAUSED and not running:
        return await parts.once.commit(params.key, {"job": job.id, "sheets": kept, "already": True})
    now = time.time()
    parts.journal.append(now, "asked.pause", job.id, by=session.who, now=at_once)
    if job.state is not JobState.PAUSED:
        parts.book.change_job(job, "pause", now, "paused by hand")
    for n in running:
        parts.crew.stop(job, job.sheets[n], "pause")
    return await parts.once.commit(params.key, {"job": job.id, "sheets": kept})
