"""Why a sheet does not run now, and until when: the same questions as `plan` asks, answered in words.

Pure; asked by `status` for the sheets it shows.
"""

from __future__ import annotations

import math

from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from mozartd.coordinator.caps import Caps
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Job, Sheet

Why = tuple[str, float | None]


def why_waiting(job: Job, sheet: Sheet, limits: Limits, caps: Caps, full: str, now: float) -> Why:
    """(reason, until) of a sheet that has not ended and does not run. `full`: why nothing at all can start, or ''."""
    if sheet.state is not SheetState.PENDING:
        # What it waits for may be over before its scope is free again: quiet hours, a veto, a person's word.
        held = _held(sheet, limits, now) if sheet.until is not None else None
        return held if held and (held[1] or math.inf) > (sheet.until or 0.0) + 1 else (sheet.reason, sheet.until)
    return _job_keeps_it(job, sheet, now) or _limits_keep_it(job, sheet, limits, caps, now) or _turn(full)


def _job_keeps_it(job: Job, sheet: Sheet, now: float) -> Why | None:
    if job.state is JobState.PAUSED:
        return job.reason if job.reason.startswith("paused") else f"paused: {job.reason}".removesuffix(": "), None
    if job.wanted:
        return f"the job will {job.wanted} when its running sheets have ended", None
    if job.after:
        return f"after {job.after}", None
    if sheet.missing:
        open_ones = [
            n for n in sheet.dependencies if job.sheets[n].state not in (SheetState.COMPLETED, SheetState.SKIPPED)
        ]
        return f"after sheet{'s' if len(open_ones) > 1 else ''} {', '.join(map(str, open_ones[:8]))}", None
    if job.not_before > now and not sheet.k:
        return "pausing between sheets" if job.started_at else "starts later", job.not_before
    if not job.has_room():
        return f"waiting for a free slot (parallel.max_concurrent: {job.policy.max_concurrent})", None
    return None


def _limits_keep_it(job: Job, sheet: Sheet, limits: Limits, caps: Caps, now: float) -> Why | None:
    backend = sheet.scope.partition("/")[0]
    if held := _held(sheet, limits, now):
        return held
    if caps.of_scope(sheet.scope) == 0:
        return f"{sheet.scope} starts slowly after a limit", limits.of(sheet.scope).next_time(now)
    if caps.of_backend(backend) == 0:
        return f"{backend} is at its limit (backends.{backend}.max_concurrent)", None
    if job.group and caps.of_group(job.group) == 0:
        return f"group {job.group} is at its limit of {caps.limit_of_group(job.group)}", None
    if job.state is JobState.QUEUED and (keeper := caps.keeper_of_workspace(job)):
        return f"its workspace is in use by {keeper}", None
    if job.state is JobState.QUEUED and caps.of_jobs() == 0:
        return "waiting for another job to end (max_concurrent_jobs)", None
    return None


def _held(sheet: Sheet, limits: Limits, now: float) -> Why | None:
    throttle = limits.holding(sheet.scope, now)
    return (f"hold on {throttle.scope}: {throttle.reason}", throttle.until) if throttle else None


def _turn(full: str) -> Why:
    return full or "next", None
