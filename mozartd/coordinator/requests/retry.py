"""`retry`: run sheets again.

{job, sheets?, from?, only, yes} → {job, sheets}. Without a choice: what failed, was blocked or cancelled, of an ended job.
`sheets`: those that have ended, also while others run, and all that depends on them, because its input changes; what of that
was complete or runs is said first and needs `yes` (`needs_yes`), what runs is interrupted. `only`: without those. `from`: that
one and all that depends on it. And what was blocked. Attempts keep their numbers and logs; budgets are granted anew.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ipc.errors import MozartError
from ipc.states import JOB_ENDED, SHEET_ENDED, SHEET_SATISFIED
from ipc.states import Sheet as SheetState
from mozartd.coordinator import budget
from mozartd.coordinator.book import Book, downstream
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Job, Sheet
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.recovery import predecessor
from mozartd.coordinator.settle import release_successors
from mozartd.coordinator.steps import apart
from mozartd.coordinator.versions import Version, version_of
from mozartd.coordinator.wishes import needs_yes, numbers, refuse_if_ending

Choice = Callable[[Job], tuple[list[Sheet], list[Sheet]]]

#: Sheets that the event names, at most.
TOLD = 100
_UNDONE = (SheetState.FAILED, SheetState.BLOCKED, SheetState.CANCELLED)


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, named, first = params.text("job"), params.wholes("sheets"), params.whole("from")
    only, yes = params.flag("only"), params.flag("yes")
    params.finish()
    job = await parts.registry.find(typed)
    choice = partial(_choose, named=named, first=first, only=only, yes=yes)
    return await parts.once.enter(params.key, _retry(parts, job.id, choice, params.key, session.who))


async def _retry(parts: Parts, id: str, choice: Choice, key: str, who: str) -> dict[str, Any]:
    async with parts.turn.alone.at(id, shut=True):
        job = await parts.registry.find_whole(id)
        # The job that it was to wait for may have ended while this one had.
        ended = await predecessor(parts.store, parts.book, job)
        refuse_if_ending(job, "retry")
        now = time.time()
        revived = await apart(job.total_sheets, partial(_revived, job, choice, now))
        parts.registry.refuse_if_forgotten(id)
        before = [*job.sheets.values()]
        if id not in parts.book.jobs:
            parts.book.add(job)
        parts.journal.append(now, "asked.retry", id, by=who, sheets=revived.chosen[:TOLD])
        _begin_again(parts.book, job, now)
        parts.book.adopt(job, revived.version.job)
        parts.journal.append_many(revived.version.events)
        parts.turn.write_aside(job.seq, revived.version.writes)
        for n in revived.stopped:
            parts.crew.stop(job, job.sheets[n], "retry")
        if ended and ended.id not in parts.book.jobs:
            release_successors(parts.book, ended, now)
    parts.turn.after_commit(partial(parts.turn.discard, before))
    return await parts.once.commit(key, {"job": id, "sheets": sorted([*revived.chosen, *revived.stopped])})


@dataclass(slots=True)
class _Revived:
    version: Version
    chosen: list[int]
    """What runs again."""
    stopped: list[int]
    """What is interrupted for that."""


def _revived(job: Job, choice: Choice, now: float) -> _Revived:
    chosen, stopped = choice(job)
    _refuse_too_dear(job, chosen)
    numbers = [sheet.n for sheet in chosen]
    sheets = [copy.copy(sheet) for sheet in job.sheets.values()]
    version = version_of(job, sheets, partial(_revive_sheets, numbers=numbers, now=now))
    return _Revived(version, numbers, [sheet.n for sheet in stopped])


def _choose(job: Job, named: list[int], first: int | None, only: bool, yes: bool) -> tuple[list[Sheet], list[Sheet]]:
    """What runs again, and what is interrupted for that."""
    if job.state not in JOB_ENDED and not named and first is None:
        hint = f"mozart cancel {job.id}, wait until it has ended, or choose with --sheet"
        raise MozartError("job_running", f"cannot retry {job.id}: it is {job.state}", hint)
    chosen = choose(job, named, first, only)
    unfinished = [sheet.n for sheet in chosen if sheet.state not in SHEET_ENDED]
    asked = {*named, *([first] if first is not None else [])}
    if early := asked.intersection(unfinished):
        n = min(early)
        message = f"cannot retry sheet {n} of {job.id}: it is {job.sheets[n].state}"
        raise MozartError("sheet_running", message, "only what has ended can run again")
    if first is None and not only and not yes:
        _ask_before_more(job, named, chosen)
    running = [sheet for sheet in chosen if sheet.state is SheetState.RUNNING]
    return [sheet for sheet in chosen if sheet.state in SHEET_ENDED], running


def _refuse_too_dear(job: Job, chosen: list[Sheet]) -> None:
    """What would be stopped at once is not started."""
    too_dear = (
        [why for sheet in chosen if (why := budget.reached(job, sheet))] if job.policy.on_reached == "stop" else []
    )
    if too_dear:
        ended = job.state in JOB_ENDED
        how = "submit it with --start-sheet" if ended else f"`mozart modify {job.id} SCORE`"
        hint = f"raise that limit in its score, then {how}"
        raise MozartError("cost_reached", f"cannot retry {job.id}: {too_dear[0]}", hint)


def _ask_before_more(job: Job, named: list[int], chosen: list[Sheet]) -> None:
    """Nobody named these, and what they have done is lost."""
    lost = (*SHEET_SATISFIED, SheetState.RUNNING)
    more = [sheet for sheet in chosen if named and sheet.n not in named and sheet.state in lost]
    if more:
        costs = [sheet.cost_usd for sheet in more if sheet.cost_usd is not None]
        cost = f" (last time ${sum(costs):.2f})" if costs else ""
        verb = "run" if len(more) > 1 else "runs"
        note = f"{numbers([sheet.n for sheet in more])} {verb} again{cost}"
        error = needs_yes(f"retry {numbers(named)} of {job.id}", [note])
        error.hint = "add --yes, or --only to leave them as they are"
        raise error


def revive(book: Book, job: Job, chosen: list[Sheet], now: float) -> None:
    """Make these sheets, which have ended, run again, and their job with them."""
    _begin_again(book, job, now)
    _revive_sheets(book, job, [sheet.n for sheet in chosen], now)


def _begin_again(book: Book, job: Job, now: float) -> None:
    if job.state in JOB_ENDED:
        book.change_job(job, "retry", now, "retried")
    job.wanted, job.not_before = "", 0.0
    book.touch(job)


def _revive_sheets(book: Book, job: Job, numbers: list[int], now: float) -> None:
    for n in numbers:
        sheet = job.sheets[n]
        sheet.history = sheet.history.anew()
        if choices := job.policy.choices_of(n):
            sheet.scope = choices[sheet.history.choice].scope
        book.change_sheet(job, sheet, "retry", now, "retried")


def choose(job: Job, named: list[int], first: int | None, only: bool = False) -> list[Sheet]:
    """What is named, what depends on it, and what was blocked. Never a sheet that would wait for one that does not run."""
    unknown = [n for n in [*named, *([first] if first is not None else [])] if n not in job.sheets]
    if unknown:
        raise MozartError(
            "unknown_sheet",
            f"cannot retry sheet {unknown[0]}: {job.id} has {job.total_sheets} sheets",
            f"see mozart status {job.id}",
        )
    asked = set(named)
    if first is not None:
        asked = _from(job, first)
    elif not named:
        asked = {n for n, sheet in job.sheets.items() if sheet.state in _UNDONE}
    if not asked:
        raise MozartError(
            "nothing_to_retry", f"cannot retry {job.id}: nothing in it failed", "choose with --sheet or --from"
        )
    chosen = asked | {n for n, sheet in job.sheets.items() if sheet.state is SheetState.BLOCKED}
    if named and not only:
        # What has not run, or waits to run again, gets the new results anyway.
        more = {sheet.n for n in named for sheet in downstream(job, n)}
        chosen |= {n for n in more if job.sheets[n].state in (*SHEET_ENDED, SheetState.RUNNING)}
    _drop_hopeless(job, asked, chosen)
    return [sheet for n, sheet in job.sheets.items() if n in chosen]


def _from(job: Job, first: int) -> set[int]:
    """That one and all that depends on it; where nothing depends on anything, all that come behind it."""
    if not job.dependents:
        return {n for n in job.sheets if n >= first}
    return {first, *(sheet.n for sheet in downstream(job, first))}


def _drop_hopeless(job: Job, named: set[int], chosen: set[int]) -> None:
    """Take out of `chosen` what needs a sheet that stays undone; that must not have been asked for by name."""
    undone = [n for n, sheet in job.sheets.items() if sheet.state in _UNDONE and n not in chosen]
    while undone:
        n = undone.pop()
        for dependent in chosen.intersection(job.dependents.get(n, ())):
            if dependent in named:
                state = job.sheets[n].state
                message = f"cannot retry sheet {dependent} of {job.id}: it needs sheet {n}, which is {state}"
                raise MozartError("needs_another", message, f"retry sheet {n} too, or mozart retry {job.id}")
            chosen.discard(dependent)
            undone.append(dependent)
