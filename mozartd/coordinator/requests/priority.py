"""`priority`: how large a job's share is from now on.

{job, priority} → {job, sheets}: −100 to 100; twenty more is twice the share.
"""

from __future__ import annotations

import time
from itertools import chain
from typing import Any

from ipc.errors import EXIT_USAGE, MozartError
from ipc.states import JOB_ENDED
from mozartd.coordinator.clients import Session
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.wishes import over


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, priority = params.text("job"), params.integer("priority")
    params.finish()
    if not -100 <= priority <= 100:
        raise MozartError("usage", f"cannot give priority {priority}", "it is from -100 to 100", EXIT_USAGE)
    job = await parts.registry.find(typed)
    if job.state in JOB_ENDED:
        raise MozartError(
            "job_ended", f"cannot change {job.id}: {over(job.state)}", "only jobs that go on have a share"
        )
    job.priority = priority
    parts.book.touch(job)
    parts.journal.append(time.time(), "asked.priority", job.id, by=session.who, priority=priority)
    ready = list(chain.from_iterable(job.ready.values()))
    return await parts.once.commit(params.key, {"job": job.id, "sheets": ready})
