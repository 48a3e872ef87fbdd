"""`submit`: a score becomes a job.

{score, path, source, environment, known?, fresh, start_sheet?, at?, after?, group?} → {job, environment?, warnings?}. The score
is the document that `mozart run` made; it is checked and expanded again here, because the daemon believes no client. The job's
rows are on disk before it is in the book, so a submission that cannot be saved leaves nothing. `known` describes the
submitter's variables, `environment` names those that are others here (`ipc.environment.compare`).
"""

from __future__ import annotations

import os
import re
import time
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import orjson
from pydantic import ValidationError

from ipc.environment import compare, is_named, lookup_in
from ipc.errors import EXIT_USAGE, MozartError
from ipc.score import routing
from ipc.score.costs import when_reached
from ipc.score.document import MAX_DEPTH, is_deeper
from ipc.score.expand import PlannedSheet, expand, in_order
from ipc.score.schema import Score
from ipc.score.unavailable import unavailable
from ipc.states import JOB_ENDED
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from ipc.threads import in_pool, in_thread, uncollected
from mozartd.coordinator import assign
from mozartd.coordinator.archive import archive_workspace
from mozartd.coordinator.clients import Session
from mozartd.coordinator.model import Choice, History, Job, Policy, Sheet
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.recovery import release_if_over
from mozartd.coordinator.requests.daemon import is_unit
from mozartd.coordinator.scopes import choices_by_sheet
from mozartd.store.store import Write

#: Templates are rendered for some: that takes up to `routing.PATIENCE`. It starts its threads when there is something to do.
SUBMISSIONS = ThreadPoolExecutor(4, "submission")


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    document, path, source = params.mapping("score"), params.text("path"), params.text_or("source", "")
    environment = chosen_environment(params.mapping("environment"), parts.settings.submit_env)
    known = params.mapping("known")
    fresh, start_sheet = params.flag("fresh"), params.whole("start_sheet")
    at, after, group = params.seconds("at"), params.text_or("after", ""), params.text_or("group", "")
    params.finish()
    if parts.turn.degraded:
        hint = ", then ".join(filter(None, [parts.turn.remedy, "submit again"]))
        raise MozartError("E403", f"cannot take {path}: {parts.turn.degraded}", hint)
    if parts.turn.draining:
        raise MozartError("draining", f"cannot take {path}: the daemon is about to stop", "submit it again in a moment")
    score = await in_pool(SUBMISSIONS, uncollected, check, document, path)
    job = await in_pool(SUBMISSIONS, uncollected, make_job, score, path, time.time(), start_sheet)
    job.not_before, job.group = at or 0.0, group or job.group
    if after:
        await _put_after(parts, job, after)
    # Numbered here, on the loop: two submissions never share a number.
    parts.book.last_seq += 1
    job.seq, job.id = parts.book.last_seq, f"{job.id}-{parts.book.last_seq}"
    answer = {"job": job.id, **_otherwise(parts, known), **_other_users(parts, job, path)}
    if fresh:
        # When nothing can refuse the job any more: what is moved away for nobody is missed.
        _refuse_if_in_use(parts, path, str(score.workspace))
        await in_thread(archive_workspace, score, job.id, parts.identity, time.time())
    rows = partial(rows_of, job, score, source, environment, parts.once.rows(params.key, answer))
    entering = _enter(parts, job, assign.Parts.of(score, environment), rows, session.who, answer)
    return await parts.once.enter(params.key, entering)


def _otherwise(parts: Parts, known: dict[str, Any]) -> dict[str, Any]:
    """Of the variables that the submitter described (`ipc.environment.described`), those that are others here: nobody would see
    why agents have another login than the shell that started them."""
    if not known:
        return {}
    names = parts.settings.submit_env
    # What a unit sets is meant for everybody, whether the submitter has it or not.
    own = () if is_unit(parts) else (name for name in os.environ if not is_named(name, names))
    found = compare(known, own, lookup_in(os.environ))
    return {"environment": found} if found else {}


async def _enter(
    parts: Parts, job: Job, cut: assign.Parts, rows: Callable[[], list[Write]], who: str, answer: dict[str, Any]
) -> dict[str, Any]:
    """When the job's rows and its first event are on disk, it is a job, and that is the answer."""

    def enter() -> None:
        parts.scores.keep(job.seq, cut)
        parts.book.add(job)
        parts.book.end_if_over(job, time.time())
        parts.turn.due()

    def tell() -> None:
        parts.journal.append(time.time(), "job.queued", job.id, name=job.name, sheets=job.total_sheets, by=who)

    # In a thread: 100,000 sheets take a second or two, and others are asking.
    await parts.turn.offer(await in_thread(uncollected, rows), tell, enter)
    # The other one may have ended while ours was being written, and looked in the book for who waits for it.
    await release_if_over(parts.store, parts.book, job)
    parts.turn.due()
    return answer


def _other_users(parts: Parts, job: Job, path: str) -> dict[str, Any]:
    """What to say of other jobs in its workspace. Raises MozartError `workspace_in_use` when it must have that for itself."""
    default = parts.settings.workspace_lock
    lock = job.policy.workspace_lock or default
    users = [
        other.id
        for other in parts.book.jobs.values()
        if other.real_workspace == job.real_workspace
        and other.state not in JOB_ENDED
        and other.id not in (job.id, job.after)
        and (other.policy.workspace_lock or default) != "share"
    ]
    if not users or lock == "share":
        return {}
    more = f" and {len(users) - 1} more" if len(users) > 1 else ""
    said = f"workspace {job.workspace} is in use by {users[0]}{more}"
    if lock == "refuse":
        hint = f"wait for it, or mozart cancel {users[0]}; workspace_lock says what else may be"
        raise MozartError("workspace_in_use", f"cannot run {path}: its {said}", hint)
    return {"warnings": [f"{said}; this job begins when that has ended" if lock == "wait" else said]}


def _refuse_if_in_use(parts: Parts, path: str, workspace: str) -> None:
    """What a job that goes on has made is not what an earlier one left."""
    for job in parts.book.jobs.values():
        if job.workspace == workspace and job.state not in JOB_ENDED:
            message = f"cannot run {path} afresh: {job.id} is {job.state} in {workspace}"
            raise MozartError("workspace_in_use", message, f"wait for it, or mozart cancel {job.id}")


async def _put_after(parts: Parts, job: Job, typed: str) -> None:
    """The job begins when that one has completed; at once when it has."""
    other = await parts.registry.find(typed)
    if other.state in (JobState.FAILED, JobState.CANCELLED):
        hint = f"mozart retry {other.id}, or submit it without --after"
        raise MozartError("after_failed", f"cannot run {job.name} after {other.id}: it is {other.state}", hint)
    job.after = "" if other.state is JobState.COMPLETED else other.id


def check(document: dict[str, Any], path: str) -> Score:
    if is_deeper(document, MAX_DEPTH):
        raise MozartError("E301", f"cannot take {path}: it is more than {MAX_DEPTH} levels deep", "", EXIT_USAGE)
    try:
        score = Score.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MozartError(
            "E301", f"cannot take {path}: {where}: {first['msg']}", "mozart validate says more", EXIT_USAGE
        ) from None
    missing = unavailable(score)
    if missing:
        raise MozartError("E301", f"cannot run {path}: {missing[0]} is not available yet", "", EXIT_USAGE)
    return score


def make_job(score: Score, path: str, now: float, start_sheet: int | None = None, private: str = "") -> Job:
    """The job of a score, without a number: `id` is only the slug yet. `private`: the suffix of scopes that it has already."""
    planned = expand(score)
    if start_sheet is not None and not 1 <= start_sheet <= len(planned):
        message = f"cannot start at sheet {start_sheet}: {path} has {len(planned)}"
        raise MozartError("E301", message, "sheets are numbered from 1", EXIT_USAGE)
    if score.plays_in_order:
        planned = in_order(planned)
    choices = choices_by_sheet(score, _private_suffix(score, private), private)
    sheets = [
        Sheet(
            one.n, one.stage, one.instance, one.fan_count, one.start_item, one.end_item, one.dependencies,
            choices.get(one.n, choices[0])[0].scope,
        )
        for one in planned
    ]  # fmt: skip
    _route(score, planned, sheets, choices, os.path.dirname(path))
    for sheet in sheets[: (start_sheet or 1) - 1]:
        sheet.state, sheet.reason = SheetState.SKIPPED, f"before --start-sheet {start_sheet}"
    policy = policy_of(score, choices)
    job = Job(
        0, slug(score.name), score.name, path, str(score.workspace), score.priority, score.group or "", now, policy
    )
    job.take(sheets)
    return job


def _route(
    score: Score, planned: list[PlannedSheet], sheets: list[Sheet], choices: dict[int, list[Choice]], directory: str
) -> None:
    """Put the sheets that are too complex for their model where `bridge:` wants them."""
    for n, route in routing.routes(score, planned, directory):
        sheet = sheets[n - 1]
        found = choices.get(n, choices[0])
        claude = next(i for i, each in enumerate(found) if each.scope.partition("/")[0] in routing.CLAUDE)
        sheet.history = History(complexity=route.reason, route=claude if route.to_claude else 0).anew()
        sheet.scope = found[sheet.history.choice].scope


def _private_suffix(score: Score, before: str) -> str:
    """Of the scopes of a job that neither sets nor obeys the holds of others: nobody else has them."""
    breaker = score.circuit_breaker
    if breaker is None or (breaker.cross_workspace_coordination and breaker.honor_other_jobs_rate_limits):
        return ""
    return before or f"#{uuid.uuid4().hex[:8]}"


def slug(name: str) -> str:
    """What a job's id begins with: letters, digits and hyphens of the name, at most 60; `job` where nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "job"


def policy_of(score: Score, choices: dict[int, list[Choice]]) -> Policy:
    simple = all(len(each) == 1 and each[0].resumes for each in choices.values())
    retry, parallel, limit = score.retry, score.parallel, score.rate_limit
    return Policy(
        max_concurrent=parallel.max_concurrent if parallel.enabled else 1,
        fail_fast=parallel.fail_fast,
        pause_seconds=float(score.pause_between_sheets_seconds),
        full_attempts=max(1, retry.max_retries),
        base_delay=float(retry.base_delay_seconds),
        max_delay=float(retry.max_delay_seconds),
        exponential_base=float(retry.exponential_base),
        jitter=retry.jitter,
        max_completions=retry.max_completion_attempts,
        completion_delay=float(retry.completion_delay_seconds),
        completion_threshold=float(retry.completion_threshold_percent),
        limit_wait=60.0 * limit.wait_minutes,
        max_waits=limit.max_waits,
        max_quota_waits=limit.max_quota_waits,
        **_breaker(score),
        **_costs(score),
        skip_when=dict(score.sheet.skip_when),
        choices={} if simple else choices,
        workspace_lock=score.workspace_lock or "",
        real_workspace=os.path.realpath(score.workspace),
    )


def _breaker(score: Score) -> dict[str, Any]:
    breaker = score.circuit_breaker
    if breaker is None:
        return {}
    return {
        "breaker": breaker.enabled,
        "breaker_threshold": breaker.failure_threshold,
        "breaker_recovery": float(breaker.recovery_timeout_seconds),
    }


def _costs(score: Score) -> dict[str, Any]:
    costs = score.cost_limits
    if costs is None or not costs.is_limiting:
        return {}
    return {
        "max_cost_sheet": costs.max_cost_per_sheet,
        "max_cost_job": costs.max_cost_per_job,
        "cost_per_1k_input": costs.cost_per_1k_input_tokens,
        "cost_per_1k_output": costs.cost_per_1k_output_tokens,
        "warn_at_percent": float(costs.warn_at_percent),
        "on_reached": when_reached(score),
    }


def chosen_environment(offered: dict[str, Any], names: list[str]) -> dict[str, str]:
    """The submitter's variables that the setting `submit_env` names (a name may end in *)."""
    return {name: value for name, value in offered.items() if isinstance(value, str) and is_named(name, names)}


def score_row(seq: int, score: Score, source: str, environment: dict[str, str]) -> dict[str, Any]:
    return {
        "seq": seq,
        "score": score.model_dump_json(),
        "source": source,
        "environment": orjson.dumps(environment).decode(),
    }


def rows_of(
    job: Job, score: Score, source: str, environment: dict[str, str], more: Sequence[Write] = ()
) -> list[Write]:
    """What makes it a job when it is on disk."""
    rows: list[Write] = [("put_job", job.row()), ("put_score", score_row(job.seq, score, source, environment))]
    rows += [("put_sheet", sheet.row(job.seq)) for sheet in job.sheets.values()]
    return [*rows, *more]
