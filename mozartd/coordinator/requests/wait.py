"""`wait`: answers when jobs have ended, or paused.

{jobs, any, timeout?} → {jobs}. With `any`, when the first of them has; after `timeout` seconds, with what is.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Job
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.requests.list import describe_rows
from mozartd.store.store import Row


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, any_of, timeout = params.texts("jobs"), params.flag("any"), params.seconds("timeout")
    params.finish()
    jobs = [await parts.registry.find(one) for one in typed]
    ends = [parts.endings.of(job) for job in jobs]
    if ends:
        when = asyncio.FIRST_COMPLETED if any_of else asyncio.ALL_COMPLETED
        await asyncio.wait(ends, timeout=timeout, return_when=when)
    await parts.turn.shown()
    return {"jobs": await describe_rows(parts, [await _row(parts, job) for job in jobs])}


async def _row(parts: Parts, job: Job) -> Row:
    return await parts.store.read_one("job_by_seq", seq=job.seq) or job.row()
