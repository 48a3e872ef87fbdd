"""`list`: jobs, newest first.

{states, all, limit, before?} → {jobs, total, next}. Without states or all: the unfinished ones. `total` is how many there are
in all; `next` is the `before` of the next page, or null. All of it is the disk's: `unsaved` tells that a job's changes are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ipc.errors import EXIT_USAGE, MozartError
from ipc.states import JOB_ENDED
from ipc.states import Job as JobState
from mozartd.coordinator.clients import Session
from mozartd.coordinator.describe import row_json
from mozartd.coordinator.params import LARGEST, Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.steps import apart
from mozartd.store.store import Row

#: Jobs in one answer, at most: a frame has a cap.
PAGE = 2000


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    states, everything, limit = params.texts("states"), params.flag("all"), params.whole("limit") or PAGE
    before = params.whole("before") or LARGEST
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
    wanted = {"states": orjson.dumps(states).decode(), "before": before, "limit": min(limit, PAGE)}
    rows, counts = await parts.store.snapshot(("jobs_in_states", wanted), ("count_jobs", {}))
    total = sum(row["count"] for row in counts if row["state"] in states)
    return {
        "jobs": await describe_rows(parts, rows),
        "total": total,
        "next": rows[-1]["seq"] if len(rows) == PAGE else None,
    }


async def describe_rows(parts: Parts, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Jobs as the disk has them, and whether memory says more than that."""
    known = ((row["id"], parts.book.jobs.get(row["id"])) for row in rows if parts.turn.degraded)
    unsaved = {id for id, job in known if job and parts.turn.is_unsaved(job)}
    return await apart(len(rows), lambda: [row_json(row, row["id"] in unsaved) for row in rows])
