"""`list`: jobs, newest first.

{states, all, limit} → {jobs}. Without states or all: the unfinished ones.
"""

from __future__ import annotations

from typing import Any

import orjson

from ipc.errors import EXIT_USAGE, MozartError
from ipc.states import JOB_ENDED
from ipc.states import Job as JobState
from mozartd.coordinator.clients import Session
from mozartd.coordinator.describe import job_json
from mozartd.coordinator.model import Job
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts

#: Jobs in one answer when the caller names no limit.
LIMIT = 500


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    states, everything, limit = params.texts("states"), params.flag("all"), params.whole("limit") or LIMIT
    params.finish()
    unknown = set(states) - {state.value for state in JobState}
    if unknown:
        allowed = ", ".join(state.value for state in JobState)
        raise MozartError(
            "unknown_state", f"cannot list jobs in state {min(unknown)!r}", f"states: {allowed}", EXIT_USAGE
        )
    if not states:
        states = [state.value for state in JobState if everything or state not in JOB_ENDED]
    await parts.turn.shown()
    rows = await parts.store.read("jobs_in_states", states=orjson.dumps(states).decode(), limit=limit)
    return {"jobs": [job_json(parts.book.jobs.get(row["id"]) or Job.of(row)) for row in rows]}
