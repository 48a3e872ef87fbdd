"""How long finished jobs are remembered: the newest `history_jobs`, for at most `history_days`.

Asked after each job's end. Rows go first and in one transaction, then the logs: a job that is half gone is never shown.
"""

from __future__ import annotations

import os
import shutil
import time

from ipc.threads import in_thread
from mozartd.coordinator.parts import Parts
from mozartd.store.store import Write


async def prune(parts: Parts) -> None:
    """Forget what is beyond the settings, a hundred jobs at a time."""
    before = time.time() - 86400 * parts.settings.history_days
    while True:
        rows = await parts.store.read("prunable_jobs", before=before, keep=parts.settings.history_jobs)
        gone = [row for row in rows if row["id"] not in parts.book.jobs]
        if not gone:
            return
        writes: list[Write] = [("drop_job", {"seq": row["seq"]}) for row in gone]
        writes += [("drop_job_events", {"job": row["id"]}) for row in gone]
        await parts.store.write(writes)
        for row in gone:
            await in_thread(shutil.rmtree, os.path.join(parts.setup.paths.logs, row["id"]), ignore_errors=True)
