"""A report becomes changes: the decision of `retry` is carried out in the book.

Called by `crew` for each `finished` frame and for attempts whose worker was lost, and by `recovery` at start.
"""

from __future__ import annotations

import math
from typing import Any

from ipc.errors import LIMIT_CODES, SERVICE_CODES
from ipc.messages import Finished
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from mozartd.coordinator import budget, retry
from mozartd.coordinator.book import Book
from mozartd.coordinator.fallback import after_failure, choose
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt, History, Job, Sheet
from mozartd.coordinator.retry import mode_after

#: What of a report is kept with the attempt's row.
_KEPT = (
    "verdict", "code", "message", "hint", "evidence", "exit_code", "signal", "started_at", "ended_at", "bytes", "lines", "tail",
    "cost_usd", "tokens", "session_id", "model", "validations", "captured", "survivors",
)  # fmt: skip
_FAIL_FAST = "another sheet failed and fail_fast is on"
#: More than anybody ever used.
MOST_TOKENS = 10**15
#: What of it an event tells.
_TOLD = (
    "verdict",
    "code",
    "message",
    "hint",
    "evidence",
    "exit_code",
    "signal",
    "cost_usd",
    "model",
    "tokens",
    "survivors",
)


def settle(book: Book, limits: Limits, attempt: Attempt, report: Finished, now: float, random: float) -> None:
    """The attempt has ended so; do what follows."""
    job, sheet = book.find(attempt)
    report = _as_recorded(report, job, sheet.history.stopping)
    decision = retry.decide(report, attempt.mode, sheet.history, job.policy, now, random)
    before = job.cost_usd
    _account(limits, job, attempt, report, now)
    _note_session(job, sheet, attempt, report)
    _keep(book, job, sheet, attempt, report, now)
    _count_no_room(sheet.history, report, decision)
    wish, sheet.history.stopping = sheet.history.stopping, ""
    decision = _as_wished(_at_the_cap(decision, job, sheet, report), job, wish)
    if wish == "retry":
        sheet.history = sheet.history.anew()
    _carry_out(book, limits, job, sheet, attempt, report, decision, now)
    if job.wanted == "fail":
        book.block(job, sheet, now, f"not started again: {_FAIL_FAST}")
    limits.spend(attempt.scope, report["cost_usd"], report["tokens"], now)
    _watch_money(book, job, sheet, before, now)
    job.not_before = now + job.policy.pause_seconds if sheet.state is not SheetState.PENDING else job.not_before
    book.end_if_over(job, now)


def _as_recorded(report: Finished, job: Job, stopping: str) -> Finished:
    """A worker that was told to stop it, by a word that nobody finds written down, has interrupted it: the one who told it
    died with that word."""
    if report["verdict"] != "cancelled" or stopping or job.wanted == "cancel":
        return report
    return {**report, "verdict": "interrupted", "message": "stopped for an unknown reason"}


def _at_the_cap(decision: retry.Decision, job: Job, sheet: Sheet, report: Finished) -> retry.Decision:
    """What was stopped because it would cost too much has not failed: it goes on when a person allows more."""
    if report["verdict"] != "capped" or isinstance(decision, retry.Done) or job.policy.on_reached != "stop":
        return decision
    reason = budget.reached(job, sheet)
    if not reason and report.get("stopped_by") == "capped":
        reason = report["message"]
    return retry.Pause(reason) if reason else decision


def _as_wished(decision: retry.Decision, job: Job, stopping: str) -> retry.Decision:
    """The decision, when the job or this sheet is to be stopped. What is done is done, unless it is to be done again."""
    if stopping == "retry" and job.wanted != "cancel":
        return retry.Interrupted(counts=False)
    if isinstance(decision, retry.Done):
        return decision
    if "cancel" in (job.wanted, stopping):
        return retry.Cancelled()
    if stopping == "pause" and isinstance(decision, retry.Cancelled | retry.Interrupted):
        return retry.Interrupted(counts=False)
    if job.wanted == "fail" and isinstance(decision, retry.Again | retry.NoRoom):
        return retry.GiveUp(f"{decision.reason}; not retried: {_FAIL_FAST}")
    return decision


def interrupt(
    book: Book,
    limits: Limits,
    attempt: Attempt,
    reason: str,
    now: float,
    *,
    ended: float | None = None,
    innocent: bool = False,
) -> None:
    """Its worker is gone and cannot report: its log stays, its budget is untouched, it runs again. `ended`: when it was, if
    that is long ago. `innocent`: it was not what killed its worker."""
    report = _report(
        attempt,
        "interrupted",
        "E004",
        reason,
        "nothing to do: it runs again by itself",
        now if ended is None else ended,
    )
    report["innocent"] = innocent
    settle(book, limits, attempt, report, now, 0.0)


def take_back(book: Book, limits: Limits, attempt: Attempt, now: float) -> None:
    """It was never handed to its worker, and is not to be any more: nothing is spent."""
    _, sheet = book.find(attempt)
    sheet.history.stopping = sheet.history.stopping or "pause"
    settle(book, limits, attempt, _report(attempt, "cancelled", "E004", "not started yet", "", now), now, 0.0)


def refuse(book: Book, limits: Limits, attempt: Attempt, code: str, reason: str, hint: str, now: float) -> None:
    """It cannot be given to a worker."""
    settle(book, limits, attempt, _report(attempt, "failed", code, reason, hint, now), now, 0.0)


def _report(attempt: Attempt, verdict: str, code: str, message: str, hint: str, now: float) -> Finished:
    """In place of the one that no worker sends."""
    return {
        "type": "finished", "attempt": attempt.id, "verdict": verdict, "code": code, "message": message, "hint": hint,
        "evidence": "", "exit_code": None, "signal": None, "started_at": attempt.facts.get("started_at"), "ended_at": now,
        "bytes": 0, "lines": 0, "tail": "", "cost_usd": None, "tokens": None,
        "session_id": attempt.facts.get("session_id"), "model": None, "limit": None, "validations": [], "applicable": 0,
        "captured": {}, "survivors": 0,
    }  # fmt: skip


def _keep(book: Book, job: Job, sheet: Sheet, attempt: Attempt, report: Finished, now: float) -> None:
    kept: dict[str, Any] = dict(report)
    attempt.facts.update({key: kept[key] for key in _KEPT})
    if "log_bytes" in kept:
        attempt.facts["log_bytes"] = kept["log_bytes"]
    book.end(attempt)
    _add_up(job, sheet, report)
    if report["verdict"] not in ("interrupted", "cancelled") and not retry.is_machines_fault(report):
        sheet.last = {key: kept[key] for key in ("verdict", "code", "message", "validations")}  # type: ignore[assignment]
    if job.policy.skip_when:
        sheet.output = report["tail"]
    seconds = max(0.0, report["ended_at"] - (report["started_at"] or report["ended_at"]))
    told = {key: kept[key] for key in _TOLD}
    validations = [
        {key: rule[key] for key in ("type", "description", "passed", "detail")} for rule in report["validations"]
    ]
    book.journal.append(
        now,
        "attempt.finished",
        job.id,
        sheet.n,
        attempt.k,
        mode=attempt.mode,
        backend=attempt.scope.partition("/")[0],
        seconds=seconds,
        validations=validations,
        **told,
    )


def _add_up(job: Job, sheet: Sheet, report: Finished) -> None:
    if report["cost_usd"] is not None:
        job.cost_usd = (job.cost_usd or 0.0) + report["cost_usd"]
        sheet.cost_usd = (sheet.cost_usd or 0.0) + report["cost_usd"]
    for kind, count in (report["tokens"] or {}).items():
        # An agent may claim anything; a sum that JSON cannot say would keep every other row from being written.
        job.tokens[kind] = min(job.tokens.get(kind, 0) + int(count), MOST_TOKENS)  # type: ignore[call-overload]


def _carry_out(
    book: Book,
    limits: Limits,
    job: Job,
    sheet: Sheet,
    attempt: Attempt,
    report: Finished,
    decision: retry.Decision,
    now: float,
) -> None:
    history = sheet.history
    match decision:
        case retry.Done(skipped, reason):
            book.change_sheet(job, sheet, "skip" if skipped else "complete", now, reason)
        case retry.Again(reason=reason) | retry.GiveUp(reason) if _goes_elsewhere(job, sheet, attempt, report):
            book.change_sheet(job, sheet, "interrupt", now, f"{reason}; trying another backend")
        case retry.Again(at, mode, reason):
            _spend(history, attempt.mode)
            history.mode = mode_after(mode, history) if report["verdict"] == "truncated" else mode
            if history.mode == "normal":
                history.session_id, history.used = None, {}
            whole = history.mode == "normal" and sheet.k == history.attempts
            of = {"of": job.policy.full_attempts} if whole else {}
            book.change_sheet(job, sheet, "wait", now, reason, at, mode=history.mode, **of)
        case retry.Hold(until, reason, counts, said):
            history.waits += counts
            history.said = said if counts else history.said
            history.mode = mode_after(history.mode, history)
            measured = retry.is_measured(report["limit"])
            giver = job.id if retry.is_guess(report["limit"]) else ""
            limits.hold(attempt.scope, until, reason, report["evidence"], now, measured, giver)
            if _can_go_elsewhere(limits, job, sheet, attempt, now):
                book.change_sheet(job, sheet, "interrupt", now, reason)
            else:
                book.change_sheet(job, sheet, "wait", now, reason, until)
        case retry.NoRoom(at, reason):
            book.change_sheet(job, sheet, "wait", now, reason, at)
        case retry.GiveUp(reason):
            _spend(history, attempt.mode)
            book.fail_sheet(job, sheet, now, reason, code=report["code"], hint=report["hint"])
        case retry.Interrupted(counts):
            history.interruptions += counts
            history.mode = mode_after(history.mode, history)
            book.change_sheet(job, sheet, "interrupt", now, report["message"])
        case retry.Pause(reason):
            history.mode = mode_after(history.mode, history)
            book.change_sheet(job, sheet, "interrupt", now, reason)
            pause(book, job, now, reason)
        case retry.NeedsPerson(reason):
            limits.hold(attempt.scope, math.inf, reason, report["evidence"], now)
            book.change_sheet(job, sheet, "interrupt", now, reason)
            if not _can_go_elsewhere(limits, job, sheet, attempt, now):
                pause(book, job, now, reason)
        case retry.Cancelled():
            book.cancel_sheet(job, sheet, now, "cancelled")


def _count_no_room(history: History, report: Finished, decision: retry.Decision) -> None:
    if isinstance(decision, retry.NoRoom):
        history.no_room += 1
    elif report["verdict"] not in ("interrupted", "cancelled"):
        history.no_room = 0


def _note_session(job: Job, sheet: Sheet, attempt: Attempt, report: Finished) -> None:
    """Which of the agent's sessions the next attempt may continue, and what that has used: some agents count for ever."""
    history = sheet.history
    before = history.session_id if attempt.mode != "normal" else None
    session = report["session_id"] or attempt.facts.get("session_id") or before
    is_lost = report["verdict"] == "no_session" or attempt.scope != sheet.scope
    if is_lost or not job.policy.resumes(sheet.n, history.choice):
        session = None
    used = history.used if session == before else {}
    spent: dict[str, int] = {**(report["tokens"] or {})} if session else {}  # type: ignore[dict-item]
    history.session_id = session
    history.used = {kind: used.get(kind, 0) + spent.get(kind, 0) for kind in {**used, **spent}}


def _can_go_elsewhere(limits: Limits, job: Job, sheet: Sheet, attempt: Attempt, now: float) -> bool:
    if attempt.scope != sheet.scope:
        return True  # By a new score.
    choices, history = job.policy.choices_of(sheet.n), sheet.history
    return bool(choices) and choose(choices, history.first, limits.held_until, now) != history.choice


def _goes_elsewhere(job: Job, sheet: Sheet, attempt: Attempt, report: Finished) -> bool:
    """The program is missing, or another one is to do what this one fails at: from now on the sheet runs there. Rules that
    are not met are no such failure."""
    history, code = sheet.history, report["code"]
    if not code or code.startswith("E2") or attempt.scope != sheet.scope:
        return False
    behind = after_failure(job.policy.choices_of(sheet.n), history.choice, code == "E505")
    if behind:
        history.first = behind
        history.passed_over = f"{sheet.scope.partition('/')[0]} failed: {retry.describe(report)}"
    return bool(behind)


def release_successors(book: Book, ended: Job, now: float) -> None:
    """Jobs that were to begin after this one may, when it completed; else they wait for a person, who is told why."""
    for job in [job for job in book.jobs.values() if job.after == ended.id]:
        if ended.state is JobState.COMPLETED:
            job.after = ""
            book.touch(job)
        elif ended.state in (JobState.FAILED, JobState.CANCELLED):
            _keep_waiting(book, job, fate(ended), now)


def _keep_waiting(book: Book, job: Job, why: str, now: float) -> None:
    """It still waits for the other one, which may be retried."""
    if job.state is JobState.PAUSED:
        if not job.reason.endswith(why):
            book.explain(job, f"{job.reason}; {why}", now)
    elif job.state is not JobState.RUNNING:
        pause(book, job, now, why)


def fate(ended: Job) -> str:
    """Why a job that was to run after this one does not. Whoever resumes a job that is paused for nothing else knows."""
    return f"{ended.id}, which it was to run after, is {ended.state}"


def pause(book: Book, job: Job, now: float, reason: str) -> None:
    """Start nothing of it any more until somebody says so."""
    if job.state in (JobState.QUEUED, JobState.RUNNING):
        book.change_job(job, "pause", now, reason)


def _account(limits: Limits, job: Job, attempt: Attempt, report: Finished, now: float) -> None:
    """Tell the scope's throttle how its service did."""
    code = report["code"]
    served = report["verdict"] not in ("interrupted", "cancelled", "skipped", "missing") and code not in LIMIT_CODES
    served = served and not retry.is_machines_fault(report)
    troubled = code in SERVICE_CODES
    tokens = sum((report["tokens"] or {}).values())  # type: ignore[arg-type]
    limits.get_up(attempt.scope, attempt.id, served and not troubled, code in LIMIT_CODES, now)
    limits.end(attempt.scope, attempt.ordinal, served and not troubled, now - attempt.assigned_at, int(tokens), now)
    if troubled and job.policy.breaker:
        limits.fail(attempt.scope, job.policy.breaker_threshold, job.policy.breaker_recovery, now)


def _watch_money(book: Book, job: Job, sheet: Sheet, before: float | None, now: float) -> None:
    """The attempt is validated and kept; what it cost may be enough."""
    if budget.nearly_reached(before, job):
        book.journal.append(now, "job.budget", job.id, cost_usd=job.cost_usd, limit_usd=job.policy.max_cost_job)
    reason = budget.reached(job, sheet)
    if reason and job.count(SheetState.PENDING, SheetState.WAITING, SheetState.RUNNING):
        pause(book, job, now, reason)


def _spend(history: History, mode: str) -> None:
    if mode == "completion":
        history.completions += 1
    else:
        history.attempts += 1
