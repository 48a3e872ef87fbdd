"""`resume`: go on with a paused job.

{job} → {job, sheets, waits, already?}: the sheets that may run again, when `max_concurrent_jobs` allows; of a job that is not
paused, and has not ended, nothing changes (`already`). Holds that waited for a person
(a login, a key) are over for its scopes: somebody has acted. A job that was to begin after another, which did not complete,
stays paused: `waits` says why. Who resumes a job that is paused for that alone has it run.
"""

from __future__ import annotations

import math
import time
from typing import Any

from ipc import blame
from ipc.errors import MozartError
from ipc.states import JOB_ENDED
from ipc.states import Job as JobState
from mozartd.coordinator import budget
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Job
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.recovery import predecessor
from mozartd.coordinator.settle import fate, pause
from mozartd.coordinator.steps import open_sheets, yielding
from mozartd.coordinator.wishes import refuse_if_ending, rerun_hint


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed = params.text("job")
    params.finish()
    job = await parts.registry.find(typed)
    open_ones = await open_sheets(job)
    interrupted = [sheet async for sheet in yielding(open_ones) if sheet.history.interruptions]
    numbers = [sheet.n async for sheet in yielding(open_ones)]
    scopes = {sheet.scope async for sheet in yielding(open_ones)}
    stops = job.policy.on_reached == "stop"
    # What would be stopped at once is not started.
    too_dear = [why async for sheet in yielding(open_ones) if stops and (why := budget.reached(job, sheet))]
    ended = await predecessor(parts.store, parts.book, job)
    await parts.turn.alone.opened(job.id)
    refuse_if_ending(job, "resume")
    if job.state in JOB_ENDED:
        raise MozartError("not_paused", f"cannot resume {job.id}: it is {job.state}, not paused", rerun_hint(job))
    if job.state is not JobState.PAUSED:
        return await parts.once.commit(params.key, {"job": job.id, "sheets": numbers, "waits": "", "already": True})
    if too_dear:
        hint = f"raise that limit in its score, then `mozart modify {job.id} SCORE`"
        raise MozartError("cost_reached", f"cannot resume {job.id}: {too_dear[0]}", hint)
    now = time.time()
    parts.journal.append(now, "asked.resume", job.id, by=session.who)
    waits = _still_waits(job, ended if ended and ended.id not in parts.book.jobs else None)
    parts.book.resume(job, now, "resumed by hand", parts.turn.caps(now).of_jobs() != 0)
    if waits:
        pause(parts.book, job, now, waits)
    for scope in scopes:
        throttle = parts.limits.of(scope)
        # What a person holds by hand waits for `limits.clear`: other jobs, too, were meant.
        if throttle.until == math.inf and throttle.kind != "hand":
            parts.limits.clear(scope, now)
    for sheet in interrupted:
        sheet.history.interruptions = 0
    blame.forgive(parts.setup.deaths, job.id)
    parts.book.end_if_over(job, now)
    return await parts.once.commit(params.key, {"job": job.id, "sheets": numbers, "waits": waits})


def _still_waits(job: Job, ended: Job | None) -> str:
    """Why it is not to run yet although somebody resumes it: he may not know what became of the job before it."""
    if ended is None or ended.id != job.after:
        return ""
    why = "" if ended.state is JobState.COMPLETED or job.reason == fate(ended) else fate(ended)
    job.after = job.after if why else ""
    return why
