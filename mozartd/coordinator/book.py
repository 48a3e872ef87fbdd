"""All unfinished jobs, and the one place where a state changes.

Every change goes through `change_job` or `change_sheet`, which obey the transition table, keep the derived facts (ready
lists, counts, dependents) true, mark the row dirty and write the event. It knows no clock, no socket and no file: `now` is an
argument, and `take_changes` hands the rows to `turn`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ipc.errors import LIMIT_CODES
from ipc.messages import attempt_id
from ipc.states import JOB_ENDED, SHEET_SATISFIED, next_job_state, next_sheet_state
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from mozartd.coordinator import budget, fallback
from mozartd.coordinator.board import Board
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.model import Attempt, Job, Sheet
from mozartd.store.store import Write

#: Why a running attempt is to be stopped, the stronger later.
WISHES = ("", "pause", "retry", "cancel")
#: Sheets that are looked at in one go when what follows for them cannot be awaited.
AT_ONCE = 50
#: Sheets that one sheet's end makes ready in one go, at most.
MANY_DEPENDENTS = 500
_OPEN = (SheetState.PENDING, SheetState.RUNNING, SheetState.WAITING, SheetState.AWAITING)


class Book:
    def __init__(self, journal: Journal, last_seq: int) -> None:
        self.journal = journal
        self.jobs: dict[str, Job] = {}
        self.running: dict[str, Attempt] = {}
        """Running attempts by id."""
        self.board = Board()
        self.last_seq = last_seq
        self.running_in: Counter[str] = Counter()
        """Running attempts by `backend:NAME` and `group:NAME`."""
        self.choosing: dict[str, Job] = {}
        """Jobs whose sheets have fallbacks, by id."""
        self.workspaces: dict[str, dict[str, Job]] = {}
        """The jobs that have a workspace, by its path and their ids."""
        self.begun = 0
        """Jobs in state running."""
        self.counts: Counter[str] = Counter()
        """Sheets of all these jobs by state."""
        self.later: dict[str, deque[Iterator[None]]] = {}
        """By job: what follows for very many of its sheets, which cannot start anyway, and is done in steps (`steps.Alone`)."""
        self.shut: dict[str, deque[Callable[[], None]]] = {}
        """By id, jobs of which another version is being made, and what came for their sheets meanwhile."""
        self._waiting: list[tuple[float, str, int]] = []
        self._dirty_jobs: dict[str, Job] = {}
        self._dirty_sheets: dict[tuple[str, int], tuple[int, Sheet]] = {}
        self._attempt_writes: list[Write] = []
        self._settled: dict[str, Job] = {}

    def __repr__(self) -> str:
        return f"<Book {len(self.jobs)} jobs, {len(self.running)} running>"

    # -- jobs

    def add(self, job: Job) -> None:
        """Take a job whose rows are on disk."""
        self.jobs[job.id] = job
        self.counts.update(job.counts)
        self._note_choices(job)
        self.begun += job.state is JobState.RUNNING
        self._note_workspace(job)
        self.board.touch(job)
        for sheet in job.sheets.values() if job.counts[SheetState.WAITING.value] else ():
            if sheet.state is SheetState.WAITING and sheet.until is not None:
                heapq.heappush(self._waiting, (sheet.until, job.id, sheet.n))

    def change_job(self, job: Job, event: str, now: float, reason: str = "", **data: Any) -> None:
        self.begun -= job.state is JobState.RUNNING
        job.state = next_job_state(job.state, event)
        self.begun += job.state is JobState.RUNNING
        job.reason = reason
        if job.state is JobState.RUNNING and job.started_at is None:
            job.started_at = now
        job.ended_at = now if job.state in JOB_ENDED else None
        self._note_workspace(job)
        if job.state in JOB_ENDED:
            job.wanted = ""
        self.touch(job)
        self.journal.append(now, f"job.{job.state}", job.id, reason=reason, **data)

    def resume(self, job: Job, now: float, reason: str, has_room: bool) -> None:
        """Go on with a paused job; one of which nothing is under way takes its turn among those that have not begun.
        `has_room`: another job may be under way."""
        goes_on = job.running or (job.started_at is not None and has_room)
        self.change_job(job, "resume" if goes_on else "requeue", now, reason)

    def touch(self, job: Job) -> None:
        """Write the job's row with the next commit."""
        self._dirty_jobs[job.id] = job
        self.board.touch(job)
        job.is_saved = False
        if job.is_settled:
            self._settled[job.id] = job

    def explain(self, job: Job, reason: str, now: float) -> None:
        """Its state stays, why it is so is more than before."""
        job.reason = reason
        self.touch(job)
        self.journal.append(now, f"job.{job.state}", job.id, reason=reason)

    def end_if_over(self, job: Job, now: float) -> None:
        """Give the job its end when no sheet of it can do anything more."""
        if job.state in JOB_ENDED or job.running or job.is_busy or job.id in self.later:
            return
        if job.wanted:
            self.close(job, job.sheets.values(), now)
        if job.count(*_OPEN):
            return
        if job.wanted == "cancel":
            event, reason = "cancel", "cancelled"
        elif job.count(SheetState.FAILED):
            event, reason = "fail", _why_failed(job)
        elif job.count(SheetState.CANCELLED):
            event, reason = "cancel", _why_cancelled(job)
        else:
            event, reason = "complete", ""
        self.change_job(job, event, now, "; ".join(filter(None, [reason, budget.above(job)])))

    def close(self, job: Job, sheets: Iterable[Sheet], now: float) -> None:
        """Of a job that is to end nothing waits for a start."""
        if not job.count(SheetState.PENDING, SheetState.WAITING, SheetState.AWAITING):
            return
        for sheet in sheets:
            if job.wanted != "cancel":
                self.block(job, sheet, now, "not started: another sheet failed and fail_fast is on")
            elif sheet.state in (SheetState.PENDING, SheetState.WAITING, SheetState.AWAITING):
                self.cancel_sheet(job, sheet, now, "cancelled")

    def queue(self) -> list[Job]:
        """The jobs that have not begun, in the order in which they would."""
        waiting = [job for job in self.jobs.values() if job.state is JobState.QUEUED]
        return sorted(waiting, key=lambda job: (job.place, -job.priority, job.seq))

    def reorder(self, job: Job, index: int) -> list[Job]:
        """Put a queued job at this place among the others; the queue as it is then. Who comes later comes behind it."""
        order = [other for other in self.queue() if other is not job]
        order.insert(index, job)
        by_hand = max([index, *(i for i, other in enumerate(order) if other.place < 0)]) + 1
        for i, other in enumerate(order[:by_hand]):
            if other.place != i - by_hand:
                other.place = float(i - by_hand)
                self.touch(other)
        return order

    def replan(self, job: Job, version: Job, now: float, changed: Mapping[str, Any]) -> None:
        """The job goes on with the sheets and the policy of this version of it; its identity and what it spent stay. `changed`:
        its new priority and group, where it gets others."""
        self._leave_workspace(job)
        job.policy, job.score_path, job.workspace = version.policy, version.score_path, version.workspace
        self._note_workspace(job)
        job.priority = changed.get("priority", job.priority)
        self._regroup(job, changed.get("group", job.group))
        job.wanted = job.wanted if job.wanted == "cancel" else ""
        self.adopt(job, version)
        self._note_choices(job)
        self.journal.append(now, "job.modified", job.id, sheets=len(job.sheets), **changed)

    def adopt(self, job: Job, version: Job) -> None:
        """The sheets of a version of the job that was made aside are its sheets; their rows are written by who made it."""
        # Of a sheet that is no more nothing is to be written.
        for key in [key for key in self._dirty_sheets if key[0] == job.id]:
            del self._dirty_sheets[key]
        self.counts.subtract(job.counts)
        job.adopt(version)
        self.counts.update(job.counts)
        self.touch(job)

    def postpone(self, job: str, call: Callable[[], None]) -> bool:
        """Whether `call`, which changes sheets of the job, comes while another version of it is made: it is done afterwards."""
        if (waiting := self.shut.get(job)) is None:
            return False
        waiting.append(call)
        return True

    def _regroup(self, job: Job, group: str) -> None:
        """What runs of it counts where it belongs from now on."""
        self.running_in[f"group:{job.group}"] -= len(job.running) if job.group else 0
        self.running_in[f"group:{group}"] += len(job.running) if group else 0
        job.group = group

    def _note_workspace(self, job: Job) -> None:
        if job.has_workspace:
            self.workspaces.setdefault(job.real_workspace, {})[job.id] = job
        else:
            self._leave_workspace(job)

    def _leave_workspace(self, job: Job) -> None:
        users = self.workspaces.get(job.real_workspace, {})
        users.pop(job.id, None)
        if not users:
            self.workspaces.pop(job.real_workspace, None)

    def _note_choices(self, job: Job) -> None:
        if any(len(choices) > 1 for choices in job.policy.choices.values()):
            self.choosing[job.id] = job
        else:
            self.choosing.pop(job.id, None)

    # -- sheets

    def move(self, job: Job, sheet: Sheet, choice: int, now: float, reason: str) -> None:
        """A ready sheet is to run on another of its choices. A session stays with the agent that had it."""
        history, before = sheet.history, sheet.scope
        job.drop_ready(sheet)
        sheet.scope, history.choice = job.policy.choices_of(sheet.n)[choice].scope, choice
        history.session_id, history.used = None, {}
        history.mode = "normal" if history.mode == "resume" else history.mode
        job.add_ready(sheet)
        self._dirty_sheets[job.id, sheet.n] = (job.seq, sheet)
        self.touch(job)
        told = {"before": before, "scope": sheet.scope, "reason": reason}
        self.journal.append(now, "sheet.moved", job.id, sheet.n, sheet.k or None, **told)

    def change_sheet(
        self, job: Job, sheet: Sheet, event: str, now: float, reason: str = "", until: float | None = None, **data: Any
    ) -> None:
        before, after = sheet.state, next_sheet_state(sheet.state, event)
        sheet.state, sheet.reason, sheet.until = after, reason, until
        for counts in (job.counts, self.counts):
            counts[before.value] -= 1
            counts[after.value] += 1
        self._leave(job, sheet, before)
        self._enter(job, sheet, after)
        _time(job, now)
        job.mark_trouble(sheet)
        self._dirty_sheets[job.id, sheet.n] = (job.seq, sheet)
        self.touch(job)
        self.journal.append(now, f"sheet.{after}", job.id, sheet.n, sheet.k or None, reason=reason, until=until, **data)

    def _leave(self, job: Job, sheet: Sheet, state: SheetState) -> None:
        if state is SheetState.PENDING and not sheet.missing:
            job.drop_ready(sheet)
        elif state is SheetState.RUNNING:
            job.running.discard(sheet.n)
        elif state is SheetState.FAILED:
            del job.failed[sheet.n]
        elif state is SheetState.CANCELLED:
            del job.cancelled[sheet.n]
        elif state in SHEET_SATISFIED:
            for n in job.dependents.get(sheet.n, ()):
                self._miss(job, job.sheets[n])

    def _enter(self, job: Job, sheet: Sheet, state: SheetState) -> None:
        if state is SheetState.PENDING and not sheet.missing:
            job.add_ready(sheet)
        elif state is SheetState.RUNNING:
            job.running.add(sheet.n)
        elif state is SheetState.WAITING and sheet.until is not None:
            heapq.heappush(self._waiting, (sheet.until, job.id, sheet.n))
        elif state is SheetState.FAILED:
            job.failed[sheet.n] = None
        elif state is SheetState.CANCELLED:
            job.cancelled[sheet.n] = None
        elif state in SHEET_SATISFIED:
            dependents = job.dependents.get(sheet.n, ())
            if len(dependents) <= MANY_DEPENDENTS:
                for n in dependents:
                    self._satisfy(job, job.sheets[n])
            else:
                self.later.setdefault(job.id, deque()).append(self._satisfying(job, dependents))

    def _satisfying(self, job: Job, dependents: Iterable[int]) -> Iterator[None]:
        for n in dependents:
            self._satisfy(job, job.sheets[n])
            yield

    def _miss(self, job: Job, dependent: Sheet) -> None:
        if dependent.state is SheetState.PENDING and not dependent.missing:
            job.drop_ready(dependent)
        dependent.missing += 1

    def _satisfy(self, job: Job, dependent: Sheet) -> None:
        dependent.missing -= 1
        if dependent.state is SheetState.PENDING and not dependent.missing:
            job.add_ready(dependent)

    def fail_sheet(self, job: Job, sheet: Sheet, now: float, reason: str, **data: Any) -> None:
        """For good: what depends on it, directly or not, is blocked; with fail_fast nothing else starts either."""
        self.change_sheet(job, sheet, "fail", now, reason, **data)
        self._block_all(job, downstream(job, sheet.n), now, f"sheet {sheet.n} failed")
        if job.policy.fail_fast:
            job.wanted = job.wanted or "fail"
            # Last first: the ready list is sorted, and shortening a long one at its end costs nothing.
            others = reversed(job.sheets.values())
            self._block_all(job, others, now, f"not started: sheet {sheet.n} failed and fail_fast is on")

    def cancel_sheet(self, job: Job, sheet: Sheet, now: float, reason: str) -> None:
        """What depends on it can never start: it is blocked."""
        self.change_sheet(job, sheet, "cancel", now, reason)
        if job.wanted != "cancel":
            self._block_all(job, downstream(job, sheet.n), now, f"sheet {sheet.n} was cancelled")

    def block_behind_lost(self, job: Job, now: float) -> None:
        """What a coordinator that died had not come to: it cannot start, and says why."""
        if job.count(*_OPEN):
            self._block_behind(job, job.failed, "failed", now)
            self.block_behind_cancelled(job, now)

    def block_behind_cancelled(self, job: Job, now: float) -> None:
        self._block_behind(job, job.cancelled, "was cancelled", now)

    def _block_behind(self, job: Job, lost: Iterable[int], became: str, now: float) -> None:
        seen: set[int] = set()
        for n in lost:
            for dependent in downstream(job, n, seen):
                self.block(job, dependent, now, f"sheet {n} {became}")

    def _block_all(self, job: Job, sheets: Iterator[Sheet], now: float, reason: str) -> None:
        """None of these can start, whatever their states say: the first are blocked here, the rest of many later."""
        blocking = self._blocking(job, sheets, now, reason)
        more = self.later.get(job.id)
        if more is None and sum(1 for _ in itertools.islice(blocking, AT_ONCE)) < AT_ONCE:
            return
        self.later.setdefault(job.id, deque()).append(blocking)

    def _blocking(self, job: Job, sheets: Iterator[Sheet], now: float, reason: str) -> Iterator[None]:
        for sheet in sheets:
            self.block(job, sheet, now, reason)
            yield

    def following(self, job: Job) -> Iterator[None]:
        """Do one thing after the other of what was left for later."""
        while (more := self.later.get(job.id)) is not None:
            yield from more[0]
            more.popleft()
            if not more:
                del self.later[job.id]

    def stop(self, job: Job, sheet: Sheet, wish: str) -> None:
        """`cancel` its running attempt, or `pause` it to run again later. Written down, because its worker may be gone
        before it has answered. A weaker wish does not replace a stronger one."""
        if WISHES.index(wish) < WISHES.index(sheet.history.stopping):
            return
        sheet.history.stopping = wish
        self._dirty_sheets[job.id, sheet.n] = (job.seq, sheet)

    def block(self, job: Job, sheet: Sheet, now: float, reason: str) -> None:
        if sheet.state in (SheetState.PENDING, SheetState.WAITING, SheetState.AWAITING):
            self.change_sheet(job, sheet, "block", now, reason)

    def ripen(self, now: float) -> None:
        """Waiting sheets whose time has come are ready."""
        while self._waiting and self._waiting[0][0] <= now:
            until, job_id, n = heapq.heappop(self._waiting)
            job = self.jobs.get(job_id)
            sheet = job.sheets.get(n) if job else None
            # An entry outlives its sheet's waiting: a cancelled or retried sheet has another `until`, or none.
            if job and sheet and sheet.state is SheetState.WAITING and sheet.until == until:
                entry = (until, job_id, n)
                if not self.postpone(job_id, partial(heapq.heappush, self._waiting, entry)):
                    self.change_sheet(job, sheet, "ready", now)

    def move_waits(self, seconds: float, now: float, measured: Callable[[str], bool]) -> None:
        """The clock was set by so much: what waits for a while goes on waiting for as long; what waits for a limit to end,
        or for a time that a person gave, waits for that time. `measured(scope)`: its limit is over after a while, too."""
        for attempt in self.running.values():
            attempt.assigned_at += seconds
        for job in self.jobs.values():
            # Of a job that has not begun it is the time that a person gave.
            if job.started_at is not None and job.not_before > now - seconds:
                job.not_before += seconds
                self.touch(job)
            move = partial(self._move_waits_of, job, seconds, measured)
            if job.counts[SheetState.WAITING.value] and not self.postpone(job.id, move):
                move()

    def _move_waits_of(self, job: Job, seconds: float, measured: Callable[[str], bool]) -> None:
        for sheet in job.sheets.values():
            met = sheet.last is not None and sheet.last["code"] in LIMIT_CODES
            met = met and not measured(sheet.scope)
            if sheet.state is SheetState.WAITING and sheet.until is not None and not met:
                sheet.until += seconds
                heapq.heappush(self._waiting, (sheet.until, job.id, sheet.n))
                self._dirty_sheets[job.id, sheet.n] = (job.seq, sheet)
                self.touch(job)

    def next_ripe(self) -> float | None:
        """When the next waiting sheet is due (or an earlier time at which nothing is)."""
        return self._waiting[0][0] if self._waiting else None

    # -- attempts

    def start(self, job: Job, sheet: Sheet, worker: str, now: float) -> Attempt:
        """A new attempt of a ready sheet on a worker. The caller sends the assignment after the commit."""
        self.board.start(job, begins=job.state is JobState.QUEUED)
        if job.state is JobState.QUEUED:
            self.change_job(job, "start", now)
        sheet.k += 1
        attempt = Attempt(job.seq, job.id, sheet.n, sheet.k, sheet.history.mode, worker, now, scope=sheet.scope)
        why = fallback.reason(job.policy.choices_of(sheet.n), sheet.history)
        attempt.facts.update(backend=sheet.scope.partition("/")[0], choice=sheet.history.choice, backend_reason=why)
        self.run(attempt)
        told = {"backend": attempt.facts["backend"], "backend_reason": why} if why else {}
        self.change_sheet(job, sheet, "start", now, mode=attempt.mode, **told)
        self._attempt_writes.append(("put_attempt", attempt.row("running")))
        return attempt

    def run(self, attempt: Attempt) -> None:
        """Count an attempt among those that run: one that starts, or one found at start-up."""
        self.running[attempt.id] = attempt
        job, sheet = self.find(attempt)
        # One that an earlier version started does not say.
        attempt.scope = attempt.scope or sheet.scope
        self.running_in.update(_shared(job, attempt))

    def end(self, attempt: Attempt) -> None:
        """The attempt is over; `facts` hold its report."""
        if self.running.pop(attempt.id, None) is not None:
            self.running_in.subtract(_shared(self.find(attempt)[0], attempt))
        self._attempt_writes.append(("put_attempt", attempt.row("ended")))

    def note(self, attempt: Attempt) -> None:
        """A running attempt's facts changed."""
        self._attempt_writes.append(("put_attempt", attempt.row("running")))

    def note_held(self, attempt: Attempt, held: list[int] | None) -> None:
        """What held before this attempt, which was the sheet's first, and so proves nothing about a later one either."""
        job, sheet = self.find(attempt)
        if sheet.history.held is None and held is not None:
            sheet.history.held = held
            self._dirty_sheets[job.id, sheet.n] = (job.seq, sheet)

    def cost_running(self, job: Job) -> float:
        """What the attempts of this job that run have cost so far, as far as that is known."""
        return sum(attempt.cost_usd for attempt in self.attempts_of(job))

    def attempts_of(self, job: Job) -> Iterator[Attempt]:
        """Those that run."""
        for n in job.running:
            attempt = self.running.get(attempt_id(job.id, n, job.sheets[n].k))
            if attempt is not None:
                yield attempt

    def find(self, attempt: Attempt) -> tuple[Job, Sheet]:
        job = self.jobs[attempt.job]
        return job, job.sheets[attempt.n]

    # -- what is to be written

    def take_changes(self) -> list[Write]:
        """The dirty rows, in an order that satisfies foreign keys."""
        writes: list[Write] = [("put_job", job.row()) for job in self._dirty_jobs.values()]
        writes += [("put_sheet", sheet.row(seq)) for seq, sheet in self._dirty_sheets.values()]
        writes += self._attempt_writes
        self._dirty_jobs, self._dirty_sheets, self._attempt_writes = {}, {}, []
        return writes

    def is_dirty(self, job: Job) -> bool:
        """Something about it was changed since the last `take_changes`."""
        return job.id in self._dirty_jobs

    def take_settling(self) -> list[Job]:
        """Ended and paused jobs whose rows were taken with the last `take_changes`, or before."""
        settling = [job for job in self._settled.values() if job.id not in self._dirty_jobs]
        for job in settling:
            del self._settled[job.id]
        return settling

    def not_written(self, settling: list[Job]) -> None:
        """The next commit has them."""
        self._settled = {job.id: job for job in settling} | self._settled

    def written(self, settling: list[Job]) -> list[Job]:
        """Those that are settled on disk now: nothing happened to them since their rows were taken."""
        settled = [job for job in settling if job.is_settled and job.id not in self._settled]
        for job in settled:
            job.is_saved = True
        return settled

    def take_settled(self) -> list[Job]:
        """Called after a commit of all changes."""
        return self.written(self.take_settling())

    def forget(self, job: Job) -> None:
        """From now on the store alone holds it."""
        if job.state in JOB_ENDED and job.id in self.jobs:
            del self.jobs[job.id]
            self.counts.subtract(job.counts)
            self.choosing.pop(job.id, None)


def _time(job: Job, now: float) -> None:
    """Count while something of it runs."""
    if job.running and job.ran_since is None:
        job.ran_since = now
    elif not job.running and job.ran_since is not None:
        job.ran_seconds += max(0.0, now - job.ran_since)
        job.ran_since = None


def _shared(job: Job, attempt: Attempt) -> list[str]:
    keys = [f"backend:{attempt.scope.partition('/')[0]}"]
    return [*keys, f"group:{job.group}"] if job.group else keys


def downstream(job: Job, n: int, seen: set[int] | None = None) -> Iterator[Sheet]:
    """All that depends on sheet n, directly or not, each once and none of `seen`. Iterative: chains of 10,000 sheets are
    fine."""
    seen, stack = set() if seen is None else seen, [n]
    seen.add(n)
    while stack:
        for dependent in job.dependents.get(stack.pop(), ()):
            if dependent not in seen:
                seen.add(dependent)
                stack.append(dependent)
                yield job.sheets[dependent]


def _why_failed(job: Job) -> str:
    if len(job.failed) == 1:
        (n,) = job.failed
        return f"sheet {n} failed: {job.sheets[n].reason}"
    return f"{len(job.failed)} sheets failed: {_some(job.failed)}"


def _why_cancelled(job: Job) -> str:
    cancelled, blocked = job.cancelled, job.count(SheetState.BLOCKED)
    what = f"sheet {next(iter(cancelled))} was" if len(cancelled) == 1 else f"{len(cancelled)} sheets were"
    more = f": {_some(cancelled)}" if len(cancelled) > 1 else ""
    behind = f"; {blocked} dependent sheet{'s' * (blocked > 1)} did not run" if blocked else ""
    return f"{what} cancelled{more}{behind}"


def _some(numbers: Mapping[int, None]) -> str:
    """The first that ended so, of many."""
    return ", ".join(map(str, sorted(itertools.islice(numbers, 10)))) + (", …" if len(numbers) > 10 else "")
