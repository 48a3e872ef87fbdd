"""`modify`: give a job another score; what has not run is planned again.

{job, score, path, source, environment, yes} → {job, sheets, changed}: the sheets that will run. Sheets that are complete,
skipped, cancelled or running keep their number, state and history; every other one is the new score's. Budgets of what runs
again are granted anew. `changed` has the job's new `priority` and `group` ('': none), each where the new score says another
than the old one said: what a person gave the job by hand stays otherwise. What may be a mistake needs `yes` (`needs_yes`):
fewer sheets, another name, another workspace.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ipc.errors import MozartError
from ipc.score.schema import Score
from ipc.states import JOB_ENDED, SHEET_SATISFIED
from ipc.states import Sheet as SheetState
from ipc.threads import in_thread, uncollected
from mozartd.coordinator import assign, budget
from mozartd.coordinator.book import Book
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Job, Sheet
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.requests import submit
from mozartd.coordinator.scopes import private_scopes
from mozartd.coordinator.settle import pause
from mozartd.coordinator.versions import Version, version_of
from mozartd.coordinator.wishes import needs_yes, numbers, over, refuse_if_ending


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, document, path = params.text("job"), params.mapping("score"), params.text("path")
    source, yes = params.text_or("source", ""), params.flag("yes")
    environment = submit.chosen_environment(params.mapping("environment"), parts.settings.submit_env)
    params.finish()
    score = await in_thread(uncollected, submit.check, document, path)
    given = _Given(score, path, source, environment, yes)
    job = await parts.registry.find(typed)
    return await parts.once.enter(params.key, _modify(parts, job, given, params.key, session.who))


@dataclass(slots=True, frozen=True)
class _Given:
    score: Score
    path: str
    source: str
    environment: dict[str, str]
    yes: bool


@dataclass(slots=True)
class _Replanned:
    version: Version
    forgotten: set[str]
    """Scopes that nobody will use any more."""
    open: list[int]
    """Sheets that will run."""
    too_dear: str
    """Why they are not started at once: the new limits may be below what the job has cost."""
    cut: assign.Parts


async def _modify(parts: Parts, job: Job, given: _Given, key: str, who: str) -> dict[str, Any]:
    async with parts.turn.alone.at(job.id, shut=True):
        planned = await in_thread(uncollected, _plan, job, given)
        before = (await parts.scores.load(job.seq)).score
        refuse_if_ending(job, "modify")
        _check(job, planned)
        notes = await in_thread(_notes, job, planned, given.score.name)
        if notes and not given.yes:
            raise needs_yes(f"modify {job.id}", notes)
        # What its worker does not have yet is not by the old score.
        parts.crew.recall(job)
        await parts.turn.collect()
        now = time.time()
        new = await in_thread(uncollected, _replan, job, planned, given, now)
        old, changed = [*job.sheets.values()], _changed(job, before, given.score)
        parts.journal.append(now, "asked.modify", job.id, by=who, score=given.path)
        parts.book.replan(job, new.version.job, now, changed)
        parts.journal.append_many(new.version.events)
        for scope in new.forgotten:
            parts.limits.forget(scope)
        parts.scores.keep(job.seq, new.cut)
        # With the rows of the book's changes, in one transaction: a job is never half of one score and half of another.
        parts.turn.write_aside(job.seq, new.version.writes)
        parts.crew.look_at_money(job)
        if new.too_dear:
            pause(parts.book, job, now, new.too_dear)
    parts.turn.after_commit(partial(parts.turn.discard, old))
    return await parts.once.commit(key, {"job": job.id, "sheets": new.open, "changed": changed})


def _plan(job: Job, given: _Given) -> Job:
    # What runs goes on with its session, and what was learned of the service is still true.
    suffix = next((scope[scope.index("#") :] for scope in private_scopes(job)), "")
    return submit.make_job(given.score, given.path, time.time(), None, suffix)


def _replan(job: Job, planned: Job, given: _Given, now: float) -> _Replanned:
    version = replanned(job, planned, now)
    score = submit.score_row(job.seq, given.score, given.source, given.environment)
    dropped = [n for n in job.sheets if n not in planned.sheets]
    version.writes = [
        ("replace_score", score),
        *(("drop_sheet", {"seq": job.seq, "n": n}) for n in dropped),
        *(("put_sheet", sheet.row(job.seq)) for sheet in version.job.sheets.values()),
    ]
    will_run = [n for n, sheet in version.job.sheets.items() if sheet.state is SheetState.PENDING]
    forgotten = private_scopes(job) - private_scopes(version.job)
    reasons = (budget.reached(version.job, version.job.sheets[n]) for n in will_run)
    too_dear = next(filter(None, reasons), "")
    return _Replanned(version, forgotten, will_run, too_dear, assign.Parts.of(given.score, given.environment))


def replanned(job: Job, planned: Job, now: float) -> Version:
    """The job as the new score has it, with what stays of the old one."""
    sheets = [kept(job, sheet) or sheet for sheet in planned.sheets.values()]

    def block(book: Book, version: Job) -> None:
        version.policy, version.score_path, version.workspace = planned.policy, planned.score_path, planned.workspace
        book.block_behind_cancelled(version, now)

    return version_of(job, sheets, block)


def _notes(job: Job, planned: Job, name: str) -> list[str]:
    """What nobody may overlook: said before it is done."""
    notes = []
    if dropped := [n for n in job.sheets if n not in planned.sheets]:
        done = sum(job.sheets[n].state in SHEET_SATISFIED for n in dropped)
        are = "is dropped" if len(dropped) == 1 else "are dropped"
        notes.append(f"{numbers(dropped)} {are}{f', {done} of them complete' if done else ''}")
    if name != job.name:
        notes.append(f"the score is called {name!r}, and the job stays {job.name!r}")
    if planned.workspace != job.workspace:
        notes.append(f"its workspace becomes {planned.workspace}, and what it made stays in {job.workspace}")
    return notes


def _check(job: Job, planned: Job) -> None:
    if job.state in JOB_ENDED:
        raise MozartError("job_ended", f"cannot modify {job.id}: {over(job.state)}", "submit the new score instead")
    gone = [n for n in job.running if n not in planned.sheets]
    if gone:
        raise MozartError(
            "sheet_running",
            f"cannot modify {job.id}: sheet {min(gone)} runs and the new score has none",
            "wait for it, or cancel that sheet",
        )


def _changed(job: Job, before: Score, after: Score) -> dict[str, Any]:
    """What the job gets of the new score beside its sheets."""
    found: dict[str, Any] = {}
    if after.priority not in (before.priority, job.priority):
        found["priority"] = after.priority
    if after.group != before.group and (after.group or "") != job.group:
        found["group"] = after.group or ""
    return found


def kept(job: Job, sheet: Sheet) -> Sheet | None:
    """The job's own sheet, where it stays instead of this one of the new score."""
    old = job.sheets.get(sheet.n)
    if old is None:
        return None
    if old.state in SHEET_SATISFIED or old.state in (SheetState.RUNNING, SheetState.CANCELLED):
        old = copy.copy(old)
        old.dependencies = sheet.dependencies
        # Should it run again, then by the new score; an attempt that runs now keeps the scope that it has.
        old.scope, planned = sheet.scope, sheet.history
        old.history = replace(
            old.history, choice=planned.choice, first=planned.first, passed_over="", route=planned.route,
            complexity=planned.complexity,
        )  # fmt: skip
        return old
    # Its attempts keep their numbers and logs.
    sheet.k, sheet.cost_usd = old.k, old.cost_usd
    return None
