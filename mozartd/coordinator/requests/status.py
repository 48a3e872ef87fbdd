"""`status`: the daemon and its unfinished jobs, or one job with its sheets.

{} → {daemon, jobs}; {job, after?} → {job, sheets, next}. Sheets come in pages; `next` is the `after` of the next page, or null.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

from ipc.states import JOB_ENDED
from mozartd.coordinator.clients import Session
from mozartd.coordinator.describe import attempt_json, job_json, rfc3339, running_progress, sheet_json
from mozartd.coordinator.model import Job
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.requests.daemon import daemon_json
from mozartd.coordinator.why import why_waiting

#: Sheets in one answer, at most: a frame has a cap.
PAGE = 2000
#: Jobs shown without being asked for: unfinished ones first.
JOBS = 200


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, after = params.text_or("job", ""), params.whole("after", 0) or 0
    params.finish()
    await parts.turn.shown()
    if typed:
        return await one(parts, typed, after)
    jobs = [job_json(job) for job in islice(reversed(parts.book.jobs.values()), JOBS)]
    if len(jobs) < JOBS:
        ended = await parts.store.read("jobs_in_states", states='["completed","failed","cancelled"]', limit=10)
        jobs += [job_json(Job.of(row)) for row in ended if row["id"] not in parts.book.jobs]
    return {"daemon": await daemon_json(parts), "jobs": jobs}


def _say_why(parts: Parts, job: Job, sheets: list[dict[str, Any]]) -> None:
    """For each sheet that waits: why, and until when."""
    now = time.time()
    caps, full = parts.turn.caps(now), parts.turn.why_full()
    for row in sheets:
        if row["state"] in ("pending", "waiting") and job.state not in JOB_ENDED:
            reason, until = why_waiting(job, job.sheets[row["n"]], parts.limits, caps, full, now)
            row["reason"], row["until"] = reason, rfc3339(until)


async def one(parts: Parts, typed: str, after: int) -> dict[str, Any]:
    job = await parts.registry.find_whole(typed)
    numbers = sorted(n for n in job.sheets if n > after)
    page = numbers[:PAGE]
    attempts: dict[int, list[dict[str, Any]]] = {n: [] for n in page}
    for row in await parts.store.read("attempts_of", seq=job.seq, after=after, upto=page[-1] if page else after):
        attempts[row["n"]].append(attempt_json(row, parts.setup.paths.attempt_log(job.id, row["n"], row["k"])))
    sheets = [sheet_json(job, job.sheets[n], attempts[n]) for n in page]
    _say_why(parts, job, sheets)
    running_progress(sheets, job, parts.book.running)
    return {"job": job_json(job), "sheets": sheets, "next": page[-1] if len(page) < len(numbers) else None}
