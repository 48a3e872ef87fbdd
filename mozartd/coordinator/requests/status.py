"""`status`: the daemon and its unfinished jobs, or one job with its sheets.

{} → {daemon, jobs}; {job, after?} → {job, sheets, next}. Sheets come in pages; `next` is the `after` of the next page, or null.
All of it is the disk's, a page as of one moment: no sheet of it has ended whose attempt still runs. Only why a sheet waits is
asked of the scheduler. A job of which memory knows more than a disk that takes nothing is `unsaved`.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import accumulate
from typing import Any

from ipc.errors import MozartError
from ipc.paths import Paths
from ipc.states import JOB_ENDED
from mozartd.coordinator.clients import Session
from mozartd.coordinator.describe import attempt_json, rfc3339, row_json, running_progress, sheet_json
from mozartd.coordinator.model import Job, Sheet
from mozartd.coordinator.params import LARGEST, Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.requests.daemon import daemon_json
from mozartd.coordinator.requests.list import describe_rows
from mozartd.coordinator.steps import apart, yielding
from mozartd.coordinator.why import why_waiting
from mozartd.store.store import Row

#: Sheets in one answer, and attempts in it, at most: a frame has a cap.
PAGE = 1000
#: Jobs shown without being asked for: unfinished ones first.
JOBS = 200
_UNFINISHED, _ENDED = '["queued","running","paused"]', '["completed","failed","cancelled"]'


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, after = params.text_or("job", ""), params.whole("after", 0) or 0
    params.finish()
    await parts.turn.shown()
    if typed:
        return await one(parts, typed, after)
    unfinished = await parts.store.read("jobs_in_states", states=_UNFINISHED, before=LARGEST, limit=JOBS)
    ended: list[Row] = []
    if len(unfinished) < JOBS:
        ended = await parts.store.read("jobs_in_states", states=_ENDED, before=LARGEST, limit=10)
    return {"daemon": await daemon_json(parts), "jobs": await describe_rows(parts, [*unfinished, *ended])}


async def one(parts: Parts, typed: str, after: int) -> dict[str, Any]:
    seq = (await parts.registry.find(typed)).seq
    job_rows, sheet_rows, attempt_rows = await parts.store.snapshot(
        ("job_by_seq", {"seq": seq}), ("sheets_of", {"seq": seq, "after": after, "limit": PAGE + 1}),
        ("attempts_of", {"seq": seq, "after": after, "upto": after + PAGE + 1}),
    )  # fmt: skip
    if not job_rows:
        raise MozartError("unknown_job", f"cannot show {typed}: it has just been forgotten", "see history_jobs")
    job = Job.of(job_rows[0])
    rows, next_one = await apart(
        len(sheet_rows) + len(attempt_rows), partial(_describe, parts.setup.paths, job, sheet_rows, attempt_rows)
    )
    known = parts.book.jobs.get(job.id)
    unsaved = known is not None and parts.turn.is_unsaved(known)
    if known and not unsaved:
        await _say_why(parts, known, rows)
    running_progress(rows, job, parts.book.running)
    return {"job": row_json(job_rows[0], unsaved), "sheets": rows, "next": next_one}


def _describe(
    paths: Paths, job: Job, sheet_rows: list[Row], attempt_rows: list[Row]
) -> tuple[list[dict[str, Any]], int | None]:
    """A page of sheets, and the number to go on after."""
    sheets = [Sheet.of(row) for row in sheet_rows]
    attempts: dict[int, list[dict[str, Any]]] = {sheet.n: [] for sheet in sheets}
    for row in attempt_rows:
        if row["n"] not in attempts:
            continue  # Of a sheet that a new score no longer has.
        attempts[row["n"]].append(attempt_json(row, paths.attempt_log(job.id, row["n"], row["k"])))
    page = page_of(sheets, attempts)
    rows = [sheet_json(job, sheet, attempts[sheet.n]) for sheet in page]
    return rows, page[-1].n if len(page) < len(sheets) else None


async def _say_why(parts: Parts, job: Job, sheets: list[dict[str, Any]]) -> None:
    """For each sheet that waits: why, and until when."""
    now = time.time()
    caps, full = parts.turn.caps(now), parts.turn.why_full()
    async for row in yielding(sheets):
        sheet = job.sheets.get(row["n"])
        # What has changed since it was read is told with the next look.
        if sheet and sheet.state.value == row["state"] in ("pending", "waiting") and job.state not in JOB_ENDED:
            reason, until = why_waiting(job, sheet, parts.limits, caps, full, now)
            row["reason"], row["until"] = reason, rfc3339(until)


def page_of(sheets: list[Sheet], attempts: dict[int, list[dict[str, Any]]]) -> list[Sheet]:
    """As many sheets as a frame holds with their attempts; at least one."""
    counts = accumulate(len(attempts[sheet.n]) for sheet in sheets)
    fitting = sum(1 for count in counts if count <= PAGE)
    return sheets[: max(1, min(PAGE, fitting))]
