"""`gc`: what of the logs and of the finished jobs goes by the settings, now instead of in time.

{dry_run} → {dry_run, log_bytes, removed_bytes, compressed_bytes, actions}; an action is {action: remove | compress | mend, job,
why, bytes, files}, one for each job and reason; to mend is to leave word of bytes that are not there. With `dry_run` nothing
is done, and what is said is what would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mozartd.coordinator import history
from mozartd.coordinator.clients import Session
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.retention import AttemptLog, Drop, Mend, Pack, Plan, Tidy

#: More jobs than one transaction should forget, fewer than anybody has.
ALL = 1_000_000

Row = tuple[str, str, str]
"""action, job, why."""


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    dry_run = params.flag("dry_run")
    params.finish()
    await parts.turn.shown()
    keeper = parts.keeper
    async with keeper.at_once():
        logs = await keeper.look()
        forgotten = {row["id"] for row in await history.prunable(parts, ALL)}
        unknown = await _unknown(parts, logs)
        plan = keeper.plan([log for log in logs if log.job not in forgotten | unknown], soon=True)
        if not dry_run:
            await history.prune(parts)
            for job in unknown:
                await history.remove_logs(parts, job)
            await keeper.carry_out(plan)
    rows = [*_whole(logs, forgotten, "history"), *_whole(logs, unknown, "no such job"), *_rows(plan)]
    return {"dry_run": dry_run, "log_bytes": _bytes(logs), **_summary(rows)}


async def _unknown(parts: Parts, logs: list[AttemptLog]) -> set[str]:
    """Jobs whose rows are gone: a crash came before their logs were."""
    known = {row["id"] for row in await parts.store.read("job_ids")}
    return {log.job for log in logs} - known - parts.book.jobs.keys()


def _bytes(logs: Iterable[AttemptLog]) -> int:
    return sum(piece.size for log in logs for piece in log.pieces)


def _whole(logs: list[AttemptLog], jobs: set[str], why: str) -> Iterator[tuple[Row, int, int]]:
    """Jobs that go with all they have, also when that is nothing."""
    yield from ((("remove", job, why), 0, 0) for job in sorted(jobs))
    for log in logs:
        if log.job in jobs:
            yield ("remove", log.job, why), _bytes([log]), len(log.pieces)


def _rows(plan: Plan) -> Iterator[tuple[Row, int, int]]:
    for action in plan.actions:
        match action:
            case Drop(log, starts, count, why):
                yield ("remove", log.job, why), count, len(starts)
            case Tidy(log, piece):
                yield ("remove", log.job, "left by a crash"), piece.size, 1
            case Mend(log, _, start, end):
                yield ("mend", log.job, "lost in a crash"), end - start, 1
            case Pack(log, _, count):
                yield ("compress", log.job, ""), count, 1


def _summary(rows: Iterable[tuple[Row, int, int]]) -> dict[str, Any]:
    sums: dict[Row, tuple[int, int]] = {}
    for row, count, files in rows:
        before = sums.get(row, (0, 0))
        sums[row] = before[0] + count, before[1] + files
    actions = [
        {"action": action, "job": job, "why": why, "bytes": count, "files": files}
        for (action, job, why), (count, files) in sums.items()
    ]
    totals = {
        f"{name}_bytes": sum(one["bytes"] for one in actions if one["action"] == action)  # type: ignore[misc]
        for name, action in (("removed", "remove"), ("compressed", "compress"))
    }
    return {**totals, "actions": actions}
