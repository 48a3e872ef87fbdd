"""What a coordinator finds when it starts, and how it makes it true again.

Loads the unfinished jobs. Attempts whose worker is alive are left to it: it will say hello, or die. Attempts of an earlier life
of the daemon are over, whatever the rows say: they were interrupted, not failed. Everything repaired is an event.
"""

from __future__ import annotations

import gc
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

import orjson

from ipc import blame
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from ipc.threads import in_thread
from mozartd.coordinator import shelf
from mozartd.coordinator.book import Book
from mozartd.coordinator.budget import Budget, Budgets
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.limits import Limits, window_minutes
from mozartd.coordinator.model import Attempt, Job, Sheet
from mozartd.coordinator.settle import interrupt, release_successors
from mozartd.settings import Settings
from mozartd.store.store import Store

log = logging.getLogger(__name__)


#: A job that so many coordinators in a row died over is paused before the next one looks at it.
MOST_DEATHS = 2


async def load(store: Store, settings: Settings, logs: str, deaths: Mapping[str, int]) -> tuple[Book, Limits, Journal]:
    """The unfinished jobs, the holds, and the numbers to go on from. Nothing is repaired yet. `logs`: their directory;
    `deaths`: job → coordinators that died over it."""
    last = await store.read_one("last_ids")
    assert last is not None
    journal = Journal(last["event"])
    rows = await store.read("all_holds")
    daily = Budgets([Budget(**one.model_dump()) for one in settings.budgets], await store.read("all_spending"))
    limits = Limits(journal, rows, window_minutes(settings.limits.window), settings.limits.resume == "ask", daily)
    # A database that is new may have had predecessors, whose jobs' logs are still there.
    book = Book(journal, max(last["job"], await in_thread(shelf.highest_number, logs)))
    sheets: dict[int, list[Sheet]] = defaultdict(list)
    for row in await store.read("unfinished_sheets"):
        sheets[row["seq"]].append(Sheet.of(row))
    for row in await store.read("unfinished_jobs"):
        with blame.on(row["id"]):
            job = Job.of(row)
            job.take(sheets[job.seq])
        if job.policy.skip_when:
            await _recall_outputs(store, job)
        with blame.on(job.id):
            book.add(job)
            if deaths.get(job.id, 0) >= MOST_DEATHS:
                _pause_suspect(book, job, deaths[job.id], time.time())
    # No collection of cycles will find any among these.
    gc.freeze()
    for job in list(book.jobs.values()):
        await release_if_over(store, book, job)
    for row in await store.read("running_attempts"):
        attempt = Attempt.of(row)
        if attempt.job in book.jobs:
            book.run(attempt)
            attempt.ordinal = limits.start(attempt.scope)
        else:
            log.error("attempt %s runs although its job has ended: it is ended", attempt.id)
            attempt.facts.update(verdict="interrupted")
            book.end(attempt)
    return book, limits, journal


def _pause_suspect(book: Book, job: Job, deaths: int, now: float) -> None:
    """Before anything of it is evaluated or started. It holds in memory, too, while the disk takes nothing."""
    if job.state in (JobState.RUNNING, JobState.QUEUED):
        reason = f"the coordinator died {deaths} times while it was at work on it"
        log.error("%s is paused: %s", job.id, reason)
        book.change_job(job, "pause", now, reason)


async def release_if_over(store: Store, book: Book, job: Job) -> None:
    """The job that this one was to wait for may have ended while nobody here knew of the two."""
    ended = await predecessor(store, book, job)
    if ended and ended.id not in book.jobs:  # It was retried meanwhile.
        release_successors(book, ended, time.time())


async def predecessor(store: Store, book: Book, job: Job) -> Job | None:
    """The job that this one waits for, if that has ended."""
    if not job.after or job.after in book.jobs:
        return None
    row = await store.read_one("job_by_id", job=job.after)
    # A job that was pruned had ended, and nobody knows how: a person decides.
    gone = Job(0, job.after, "", "", "", 0, "", 0.0, job.policy, state=JobState.CANCELLED)
    return Job.of(row) if row else gone


async def _recall_outputs(store: Store, job: Job) -> None:
    numbers = orjson.dumps(list(job.sheets)).decode()
    for row in await store.read("last_attempts", seq=job.seq, sheets=numbers):
        job.sheets[row["n"]].output = orjson.loads(row["facts"]).get("tail", "")


def repair(
    book: Book,
    limits: Limits,
    workers: Collection[str],
    now: float,
    last_seen: Callable[[Attempt], float] = lambda attempt: math.inf,
) -> None:
    """`workers` are the names of those alive now, `last_seen` says until when an attempt can have run whose worker is not.
    Afterwards a running sheet has a running attempt whose worker lives."""
    _leave_out_the_absence(book, workers, now, last_seen)
    for attempt in list(book.running.values()):
        job, sheet = book.find(attempt)
        if sheet.state is not SheetState.RUNNING or sheet.k != attempt.k:
            log.error("attempt %s runs although its sheet does not: it is ended", attempt.id)
            attempt.facts.update(verdict="interrupted", ended_at=now)
            book.end(attempt)
        elif attempt.worker not in workers:
            log.warning("attempt %s was interrupted: the daemon stopped", attempt.id)
            interrupt(
                book, limits, attempt, "the daemon stopped while it ran", now, ended=_end(attempt, now, last_seen)
            )
    running = {(attempt.job, attempt.n) for attempt in book.running.values()}
    for job in list(book.jobs.values()):
        for n in [n for n in job.running if (job.id, n) not in running]:
            log.error("sheet %d of %s runs although no attempt does: it is ready again", n, job.id)
            book.change_sheet(job, job.sheets[n], "interrupt", now, "repaired: no attempt was running")
        book.block_behind_lost(job, now)
        for _ in book.following(job):
            pass
        if job.wanted:
            book.close(job, job.sheets.values(), now)
        book.end_if_over(job, now)


def _leave_out_the_absence(
    book: Book, workers: Collection[str], now: float, last_seen: Callable[[Attempt], float]
) -> None:
    """Nothing of a job ran while the daemon was away, unless a worker lived on."""
    for job in book.jobs.values():
        attempts = list(book.attempts_of(job))
        if job.ran_since is not None and attempts and not any(each.worker in workers for each in attempts):
            job.ran_since += now - max(job.ran_since, *(_end(each, now, last_seen) for each in attempts))


def _end(attempt: Attempt, now: float, last_seen: Callable[[Attempt], float]) -> float:
    begun = attempt.facts.get("started_at") or attempt.assigned_at
    return min(now, max(begun, last_seen(attempt)))
