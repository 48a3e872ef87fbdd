"""`reorder`: which of the jobs that have not begun goes first.

{job, before?, behind?} → {job, queue}: the ids in the order in which they would begin. Without a neighbour: first of all. Jobs
that are submitted later come behind those that a person has put in order. A job that has begun has a share instead
(`priority`).
"""

from __future__ import annotations

import time
from typing import Any

from ipc.errors import EXIT_USAGE, MozartError
from ipc.states import Job as JobState
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Job
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, before, behind = params.text("job"), params.text_or("before", ""), params.text_or("behind", "")
    params.finish()
    if before and behind:
        raise MozartError(
            "usage", f"cannot put {typed} before one job and behind another", "name one of them", EXIT_USAGE
        )
    job = await parts.registry.find(typed)
    other = await parts.registry.find(before or behind) if before or behind else None
    for one in (job, *([other] if other else [])):
        _check(one, typed)
    if other is job:
        raise MozartError("usage", f"cannot put {job.id} beside itself", "name another job", EXIT_USAGE)
    others = [one for one in parts.book.queue() if one is not job]
    index = others.index(other) + bool(behind) if other else 0
    told = {"before": before, "behind": behind} if other else {"first": True}
    parts.journal.append(time.time(), "asked.reorder", job.id, by=session.who, **told)
    queue = parts.book.reorder(job, index)
    return await parts.once.commit(params.key, {"job": job.id, "queue": [one.id for one in queue]})


def _check(job: Job, typed: str) -> None:
    if job.state is not JobState.QUEUED:
        what = "has begun" if job.started_at else "does not wait for its turn"
        hint = f"mozart priority {job.id} high gives it a larger share" if job.state is JobState.RUNNING else ""
        raise MozartError("not_queued", f"cannot reorder {typed}: {job.id} {what}, it is {job.state}", hint)
