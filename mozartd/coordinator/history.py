"""How long finished jobs are remembered: the newest `history_jobs`, for at most `history_days`.

Asked after each job's end, and by `mozart gc`. Rows go first and in one transaction, then the logs: a job that is half gone
is never shown. A job whose logs somebody reads stays until the next time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from ipc.errors import MozartError
from ipc.threads import in_thread
from mozartd.coordinator import shelf
from mozartd.coordinator.parts import Parts
from mozartd.store.store import Row, Write

log = logging.getLogger(__name__)


#: Jobs that one transaction forgets: a commit that others wait for is not made to wait for long.
AT_ONCE = 20
#: Events of no job that are kept, and days of what scopes used.
KEPT_EVENTS, KEPT_DAYS = 20_000, 7
#: Pages of the database that may be free before it is made smaller.
FREE_PAGES = 2000


async def prune(parts: Parts) -> None:
    """Forget what is beyond the settings, some jobs at a time."""
    try:
        forgot = False
        while rows := await _prunable(parts):
            await _forget(parts, rows)
            forgot = True
        await _prune_others(parts)
        if forgot:
            await parts.store.shrink(FREE_PAGES)
    except MozartError as error:
        # No room on the disk, or no thread: the next job's end asks again.
        log.warning("cannot forget old jobs: %s", error.message)


async def _prune_others(parts: Parts) -> None:
    """What belongs to no job, and nobody else forgets."""
    before = time.time() - 86400 * parts.settings.history_days
    old = {"before": before, "keep": KEPT_EVENTS}
    while await parts.store.read_one("old_events", **old):
        await parts.store.write([("drop_old_events", {**old, "most": 1000})])
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 86400 * KEPT_DAYS))
    if await parts.store.read_one("old_of_scopes", before=before, day=day):
        await parts.store.write([("drop_old_holds", {"before": before}), ("drop_old_spending", {"day": day})])


async def _forget(parts: Parts, rows: list[Row]) -> None:
    jobs = {row["id"] for row in rows}
    parts.registry.forgetting |= jobs
    try:
        await in_thread(_adopt, parts.setup.paths.logs, jobs)
        writes: list[Write] = [("drop_job", {"seq": row["seq"]}) for row in rows]
        writes += [("drop_job_events", {"job": job}) for job in jobs]
        await parts.store.write(writes)
    finally:
        parts.registry.forgetting -= jobs
    await parts.keeper.remove(jobs)


def _adopt(logs: str, jobs: Iterable[str]) -> None:
    """While somebody knows that they are ours: what a crash leaves of them is ours then, too."""
    for job in jobs:
        shelf.adopt(logs, job)


async def _prunable(parts: Parts) -> list[Row]:
    """Some of the jobs beyond the settings that nobody needs now."""
    # Those that are needed must not stand before the others for ever.
    most = AT_ONCE + len(parts.registry.forgetting) + len(+parts.followers.reading)
    rows = await parts.store.read("prunable_jobs", **_bounds(parts), most=most)
    return [row for row in rows if not _is_needed(parts, row["id"])][:AT_ONCE]


async def forgettable(parts: Parts) -> set[str]:
    """All of them."""
    found = await parts.store.values("prunable_ids", **_bounds(parts))
    found.difference_update(parts.book.jobs, parts.registry.forgetting, +parts.followers.reading)
    return found


def _is_needed(parts: Parts, job: str) -> bool:
    return job in parts.book.jobs or job in parts.registry.forgetting or parts.followers.reading[job] > 0


def _bounds(parts: Parts) -> dict[str, Any]:
    return {"before": time.time() - 86400 * parts.settings.history_days, "keep": parts.settings.history_jobs}
