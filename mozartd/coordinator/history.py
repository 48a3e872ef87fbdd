"""How long finished jobs are remembered: the newest `history_jobs`, for at most `history_days`.

Asked after each job's end, and by `mozart gc`. Rows go first and in one transaction, then the logs: a job that is half gone
is never shown. A job whose logs somebody reads stays until the next time.
"""

from __future__ import annotations

import logging
import os
import shutil
import time

from ipc.errors import MozartError
from ipc.threads import in_thread
from mozartd.coordinator.parts import Parts
from mozartd.store.store import Row, Write

log = logging.getLogger(__name__)


async def prune(parts: Parts) -> None:
    """Forget what is beyond the settings, a hundred jobs at a time."""
    try:
        while rows := await prunable(parts, 100):
            await _forget(parts, rows)
    except MozartError as error:
        # No room on the disk, or no thread: the next job's end asks again.
        log.warning("cannot forget old jobs: %s", error.message)


async def _forget(parts: Parts, rows: list[Row]) -> None:
    jobs = {row["id"] for row in rows}
    parts.registry.forgetting |= jobs
    try:
        writes: list[Write] = [("drop_job", {"seq": row["seq"]}) for row in rows]
        writes += [("drop_job_events", {"job": job}) for job in jobs]
        await parts.store.write(writes)
    finally:
        parts.registry.forgetting -= jobs
    for job in jobs:
        await remove_logs(parts, job)


async def prunable(parts: Parts, most: int) -> list[Row]:
    """Jobs beyond the settings that nobody needs now."""
    before = time.time() - 86400 * parts.settings.history_days
    rows = await parts.store.read("prunable_jobs", before=before, keep=parts.settings.history_jobs, most=most)
    needed = parts.book.jobs.keys() | parts.registry.forgetting
    return [row for row in rows if row["id"] not in needed and not parts.followers.reading[row["id"]]]


async def remove_logs(parts: Parts, job: str) -> None:
    await in_thread(shutil.rmtree, os.path.join(parts.setup.paths.logs, job), ignore_errors=True)
