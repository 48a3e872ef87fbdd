"""`resume`: go on with a paused job.

{job} → {job, sheets}: the sheets that may run again, when `max_concurrent_jobs` allows. Holds that waited for a person (a
login, a key) are over for its scopes: somebody has acted.
"""

from __future__ import annotations

import math
import time
from typing import Any

from ipc.errors import MozartError
from ipc.states import SHEET_ENDED
from ipc.states import Job as JobState
from mozartd.coordinator import budget
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Job
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed = params.text("job")
    params.finish()
    job = await parts.registry.find(typed)
    if job.state is not JobState.PAUSED:
        hint = f"mozart retry {job.id} runs what failed again" if job.is_settled else f"see mozart status {job.id}"
        raise MozartError("not_paused", f"cannot resume {job.id}: it is {job.state}, not paused", hint)
    _refuse_at_the_cap(job)
    now = time.time()
    parts.journal.append(now, "asked.resume", job.id, by=session.who)
    parts.book.resume(job, now, "resumed by hand", parts.turn.caps(now).of_jobs() != 0)
    open_ones = [sheet for sheet in job.sheets.values() if sheet.state not in SHEET_ENDED]
    for scope in {sheet.scope for sheet in open_ones}:
        throttle = parts.limits.of(scope)
        # What a person holds by hand waits for `limits.clear`: other jobs, too, were meant.
        if throttle.until == math.inf and throttle.kind != "hand":
            parts.limits.clear(scope, now)
    for sheet in open_ones:
        sheet.history.interruptions = 0
    parts.book.end_if_over(job, now)
    return await parts.once.commit(params.key, {"job": job.id, "sheets": [sheet.n for sheet in open_ones]})


def _refuse_at_the_cap(job: Job) -> None:
    """What would be stopped at once is not started."""
    if job.policy.on_reached != "stop":
        return
    open_ones = (sheet for sheet in job.sheets.values() if sheet.state not in SHEET_ENDED)
    if reason := next(filter(None, (budget.reached(job, sheet) for sheet in open_ones)), ""):
        hint = f"raise that limit in its score, then `mozart modify {job.id} SCORE`"
        raise MozartError("cost_reached", f"cannot resume {job.id}: {reason}", hint)
