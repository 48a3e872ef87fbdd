"""The coordinator's beat: changes become rows, then frames and answers.

Whoever changed something calls `due`; once per loop iteration `run` ripens what waits, plans, starts, and commits all changes
in one transaction. Frames and answers that depend on a change go out after its commit (`after_commit`, `committed`). One
commit at a time: what changes meanwhile shares the next, and a row never overtakes an older version of itself. When the disk
does not take the rows, they stay in memory and are tried again; nothing is announced, and nobody is told to do anything,
before it is true. An `Offer` is what may also be refused: it is on disk with its event, or nowhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from ipc import blame
from ipc.errors import MozartError
from ipc.score.expressions import ExpressionTooLargeError
from ipc.threads import discard
from mozartd.coordinator import fallback, schedule
from mozartd.coordinator.admission import Admission
from mozartd.coordinator.alone import Alone
from mozartd.coordinator.book import Book
from mozartd.coordinator.caps import Caps
from mozartd.coordinator.crew import Crew
from mozartd.coordinator.journal import Told
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt, Job, Sheet
from mozartd.store.store import Store, Write

log = logging.getLogger(__name__)

#: Seconds between two tries to write when the disk does not take it.
RETRY_WRITE = 1.0
#: Rows that may wait for the commit under way before who makes more of them has to.
MANY_WRITES = 1000
#: In place of a statement's name: the row's `rows` are many writes.
MADE_ASIDE = ""
#: What a change is that the disk does not take.
IN_MEMORY = "it is only in memory, and lost if the daemon ends now"


@dataclass(slots=True)
class Offer:
    """Rows that are one fact with one event: `tell` appends that, `enter` is called when both are on disk, before the event is
    shown. What the disk does not take is dropped."""

    writes: list[Write]
    tell: Callable[[], None]
    enter: Callable[[], None]
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Commit:
    """What one transaction writes, and what follows from it."""

    writes: list[Write] = field(default_factory=list)
    events: list[Told] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)
    offered: list[Told] = field(default_factory=list)
    """Of the offers, behind all others: the last ones that are numbered, so that they can be taken back."""
    effects: list[Callable[[], None]] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    settling: list[Job] = field(default_factory=list)
    """Jobs that have ended or paused when it is written."""

    def __iter__(self) -> Iterator[Write]:
        """Job rows before what refers to them, and events last. Made where they are written: thousands of events cost the
        loop nothing."""
        for name, row in self.writes:
            if name == MADE_ASIDE:
                yield from row["rows"]
            else:
                yield name, row
        for offer in self.offers:
            yield from offer.writes
        for event in chain(self.events, self.offered):
            for row in event.rows():
                yield "put_event", row


class Turn:
    """`skips(job, sheet)` says why a sheet is to be skipped, or ''; `assign(attempt)` sends an assignment."""

    def __init__(
        self,
        store: Store,
        book: Book,
        limits: Limits,
        crew: Crew,
        max_concurrent: int,
        caps: Callable[[float], Caps],
        skips: Callable[[Job, Sheet], str],
        admission: Admission,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._book = book
        self._limits = limits
        self._crew = crew
        self._max_concurrent = max_concurrent
        self.caps = caps
        self._skips = skips
        self._admission = admission
        self.assign: Callable[[Attempt], None] = lambda attempt: None
        self.on_settled: Callable[[Job], None] = lambda job: None
        """A job ended or paused, and that is on disk."""
        self.on_idle: Callable[[], None] = lambda: None
        """Nothing runs while draining."""
        self.on_degraded: Callable[[str], None] = lambda reason: None
        """Rows cannot be written, for a reason; or they can again: ''."""
        self.changed_at = time.monotonic()
        self.draining = False
        self.degraded = ""
        """Why rows cannot be written, while that is so."""
        self.remedy = ""
        """What a person can do about that."""
        self._scheduled = False
        self._committing = False
        self._writes_known = False
        """The commit under way writes more than offers."""
        self._changed_meanwhile = False
        """A turn ran while a commit was under way: what it changed waits for the next one."""
        self._writes: list[Write] = []
        self._events: list[Told] = []
        self._offers: list[Offer] = []
        self._is_wary = False
        """A commit with several offers failed: one at a time, until it is known whether they are why."""
        self._suspect: tuple[Offer, MozartError] | None = None
        """The one with which a commit failed, and how: it is why, when the rest can be written without it."""
        self._unsaved: set[int | str] = set()
        """Numbers of jobs, scopes and groups with a row that the disk did not take."""
        self._effects: list[Callable[[], None]] = []
        self._waiting: list[asyncio.Future[None]] = []
        """Of `committed`: those who have not asked for anything that a commit under way writes."""
        self._looking: set[asyncio.Future[None]] = set()
        """Of those, and of those whose commit is under way: who only wants to read what there is."""
        self._timer: asyncio.TimerHandle | None = None
        self._discarding: set[asyncio.Task[None]] = set()
        self.alone = Alone(book, self.collect, self.due)

    def __repr__(self) -> str:
        return f"<Turn {len(self._writes)} rows to write{', degraded' if self.degraded else ''}>"

    @property
    def credit(self) -> int:
        """Attempts that workers and `max_concurrent_sheets` still allow."""
        return min(self._crew.credit, self._admission.cap(self._max_concurrent) - len(self._book.running))

    def why_full(self) -> str:
        """Why nothing at all can start now, or ''."""
        if self.draining:
            return "the daemon is about to stop"
        if self.credit > 0:
            return ""
        return self._admission.reason or "every worker is busy"

    def due(self) -> None:
        """Something changed: run in this iteration of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.run)

    def write(self, writes: Iterable[Write]) -> None:
        """Rows that are not the book's, in one transaction with all changes made so far."""
        self._writes += writes
        self.due()

    def write_aside(self, seq: int, rows: list[Write]) -> None:
        """Many rows of a job that were made aside, in one transaction with all changes made so far. The list is ours."""
        self.write([(MADE_ASIDE, {"seq": seq, "rows": rows})])
        self.after_commit(partial(self.discard, rows))

    def discard(self, many: list[Any]) -> None:
        """Nobody else has these: give their memory back, aside."""
        task = self._loop.create_task(discard(many), name="discard")
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)

    async def collect(self) -> None:
        """Make the rows of what was changed so far: whoever changes much does so bit by bit, and waits when many are not on
        disk yet. Thousands of them at once would cost the loop something even when they are thrown away."""
        self._writes += self._book.take_changes()
        self.due()
        if len(self._writes) > MANY_WRITES:
            await self.shown()
        else:
            await asyncio.sleep(0)

    def offer(self, writes: list[Write], tell: Callable[[], None], enter: Callable[[], None]) -> asyncio.Future[None]:
        """Done when these rows are on disk; fails with MozartError E403, and then none of them is or will be."""
        done = self._loop.create_future()
        self._offers.append(Offer(writes, tell, enter, done))
        self.due()
        return done

    def is_unsaved(self, job: Job) -> bool:
        """Something about it is only in memory, because the disk does not take it."""
        return bool(self.degraded) and (job.seq in self._unsaved or self._book.is_dirty(job))

    def is_row_unsaved(self, key: str) -> bool:
        """The same of a scope or a group."""
        return key in self._unsaved

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Call `effect` when all changes made so far are on disk."""
        self._effects.append(effect)
        self.due()

    def committed(self) -> asyncio.Future[None]:
        """Done when all changes made so far are on disk. Fails with MozartError E403 when the disk does not take them now:
        they stay in memory, and are written when it does."""
        done = self._loop.create_future()
        self._waiting.append(done)
        self.due()
        return done

    async def shown(self) -> None:
        """Return when what may be read is as new as it can be: on disk, or refused by it. Nobody has to wait for a disk that
        takes nothing in order to be told so."""
        if self.degraded:
            return
        done = self.committed()
        self._looking.add(done)
        done.add_done_callback(self._looking.discard)
        with suppress(MozartError):
            await done

    def run(self) -> None:
        self._scheduled = False
        now = time.time()
        self._book.ripen(now)
        self._limits.end_due(now)
        self._start(now)
        if self._book.later:
            self.alone.follow()
        self._commit()
        self._wake(now)

    # -- starting

    def _start(self, now: float) -> None:
        """Start what can start. Again and again, because a skipped sheet makes others ready and a job that has begun may
        start more than its first."""
        while not self.draining:
            self._choose_backends(now)
            self._book.board.settle(now)
            held = self._limits.look_at_budgets((lane.scope for lane in self._book.board.lanes), now)
            if self._book.board.lanes and self._admission.look(now):
                self._tell_admission(now)
            credit = self.credit
            starts = schedule.plan(self._book.board, self.caps(now), credit, now) if credit > 0 else []
            for job, n in starts:
                with blame.on(job.id):
                    self._start_or_skip(job, job.sheets[n], now)
            # What is held since just now may have a fallback.
            if not starts and not held:
                return

    def _tell_admission(self, now: float) -> None:
        admission = self._admission
        self._book.journal.append(
            now, "admission.changed", level=admission.level, sheets=admission.cap(self._max_concurrent),
            reason=admission.reason or "the machine has room again",
        )  # fmt: skip

    def _choose_backends(self, now: float) -> None:
        """Put the sheets that could start next where they are to run: a fallback, or back."""
        for job in self._book.choosing.values():
            if job.is_busy:
                continue
            blame.put(job.id)
            room = max(0, job.policy.max_concurrent - len(job.running))
            for n in [n for numbers in job.ready.values() for n in numbers[:room]]:
                sheet = job.sheets[n]
                choices = job.policy.choices_of(n)
                choice = fallback.choose(choices, sheet.history.first, self._limits.held_until, now) if choices else 0
                if choice != sheet.history.choice:
                    reason = fallback.why_moved(choices, sheet.history, choice, self._limits.held_until, now)
                    self._book.move(job, sheet, choice, now, reason)
        blame.put("")

    def _start_or_skip(self, job: Job, sheet: Sheet, now: float) -> None:
        try:
            reason = self._skips(job, sheet)
        except ExpressionTooLargeError as error:
            self._book.fail_sheet(job, sheet, now, f"E604 cannot decide its skip_when: {error}")
            self._book.end_if_over(job, now)
            return
        if reason:
            self._book.change_sheet(job, sheet, "skip", now, reason)
            self._book.end_if_over(job, now)
            return
        worker = self._crew.pick_for(sheet)
        attempt = self._book.start(job, sheet, worker.name, now)
        worker.running.add(attempt.id)
        attempt.ordinal = self._limits.start(attempt.scope)
        self._effects.append(lambda: self.assign(attempt))

    def _wake(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        again = self._admission.next_time() if self._book.board.lanes else None
        nexts = (again, self._book.board.next_time(), self._book.next_ripe(), self._limits.next_time(now))
        times = [when for when in nexts if when is not None]
        self._timer = self._loop.call_later(max(0.0, min(times) - now), self.due) if times else None

    # -- committing

    def _commit(self) -> None:
        if self._committing:
            self._changed_meanwhile = True
            self._let_look()
            return
        commit = self._gather()
        if not (commit.writes or commit.events or commit.offers):
            self._succeed(commit)
            return
        self._committing = True
        self._writes_known = bool(commit.writes or commit.events)
        self.changed_at = time.monotonic()
        self._store.write(commit).add_done_callback(partial(self._written, commit))

    def _let_look(self) -> None:
        """Who waits for changes of what there is does not wait for offers: they are nothing yet."""
        self._writes += self._book.take_changes() + self._limits.take_changes()
        if not (self._writes_known or self._writes or self._events or self._book.journal.has_unwritten):
            waiting, self._waiting = self._waiting, []
            _resolve(waiting)

    def _gather(self) -> _Commit:
        """What the next transaction writes: all that changed, and what is offered."""
        self._writes += self._book.take_changes() + self._limits.take_changes()
        self._events += self._book.journal.take_unwritten()
        commit = _Commit(self._writes, self._events, effects=self._effects, waiting=self._waiting)
        commit.settling = self._book.take_settling()
        self._writes, self._events, self._effects, self._waiting = [], [], [], []
        if self._suspect is None:
            most = 1 if self._is_wary else len(self._offers)
            commit.offers, self._offers = self._offers[:most], self._offers[most:]
        for offer in commit.offers:
            offer.tell()
        commit.offered = self._book.journal.take_unwritten()
        return commit

    def _written(self, commit: _Commit, done: asyncio.Future[None]) -> None:
        self._committing = False
        error = done.exception()
        if error is None:
            self._degrade("", "")
            self._unsaved.clear()
            self._succeed(commit)
            self._refuse_suspect()
            self._is_wary = self._is_wary and bool(self._offers)
            if self._changed_meanwhile or self._offers:
                self._changed_meanwhile = False
                self.due()
            return
        self._take_back(commit)
        saying = error if isinstance(error, MozartError) else MozartError("E403", str(error))
        if commit.offers:
            self._doubt(commit, saying)
        else:
            self._refuse_all(commit, saying)

    def _doubt(self, commit: _Commit, error: MozartError) -> None:
        """An offer may be why: rows that cannot be are nobody else's trouble."""
        if len(commit.offers) > 1:
            self._is_wary, self._offers[:0] = True, commit.offers
        else:
            self._suspect = commit.offers[0], error
            if not (commit.writes or commit.events):
                self._refuse_suspect()
        self.due()

    def _refuse_suspect(self) -> None:
        if self._suspect is not None:
            offer, error = self._suspect
            self._suspect = None
            _resolve([offer.done], error)

    def _take_back(self, commit: _Commit) -> None:
        """Nothing of it is on disk: the next one writes it. Offers are told anew."""
        self._book.journal.take_back(commit.offered)
        self._book.not_written(commit.settling)
        self._writes[:0], self._events[:0], self._effects[:0] = commit.writes, commit.events, commit.effects
        if commit.offers:
            self._waiting[:0] = commit.waiting

    def _refuse_all(self, commit: _Commit, error: MozartError) -> None:
        """The disk takes nothing: whoever waits is told, and it is tried again in a while."""
        self._unsaved.update(
            key for _, row in commit.writes for key in (row.get("seq"), row.get("scope"), row.get("name")) if key
        )
        if not self.degraded:
            log.error("%s; trying again every %g s", error.message, RETRY_WRITE)
        self._degrade(error.message, error.hint)
        told = MozartError("E403", f"{self.degraded}; {IN_MEMORY}", self.remedy)
        _resolve([*commit.waiting, *self._looking], told)
        self._refuse_suspect()
        _resolve([offer.done for offer in self._offers], error)
        self._offers, self._is_wary = [], False
        self._loop.call_later(RETRY_WRITE, self.due)

    def _degrade(self, reason: str, remedy: str) -> None:
        self.remedy = remedy
        if reason != self.degraded:
            self.degraded = reason
            self.on_degraded(reason)

    def _succeed(self, commit: _Commit) -> None:
        for offer in commit.offers:
            _do(offer.enter)
        _do(lambda: self._book.journal.publish([*commit.events, *commit.offered]))
        for effect in commit.effects:
            _do(effect)
        for job in self._book.written(commit.settling):
            self._book.forget(job)
            _do(partial(self.on_settled, job))
        _resolve([*commit.waiting, *(offer.done for offer in commit.offers)])
        if self.draining and not self._book.running:
            self.on_idle()


def _do(effect: Callable[[], None]) -> None:
    try:
        effect()
    except Exception:
        # A bug in one effect is one lost frame or answer; those behind it are acks and assignments of others.
        log.exception("cannot do what follows from a commit")


def _resolve(waiting: Iterable[asyncio.Future[None]], error: MozartError | None = None) -> None:
    for done in waiting:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
