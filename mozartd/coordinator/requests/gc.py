"""`gc`: what of the logs and of the finished jobs goes by the settings, now instead of in time.

{dry_run} → {dry_run, log_bytes, removed_bytes, compressed_bytes, actions, more, not_ours, more_not_ours}; an action is
{action: remove | compress | mend, job, why, bytes, files}, one for each job and reason; to mend is to leave word of bytes that
are not there. The largest come first; `more` says of those that are not told how many they are. With `dry_run` nothing is done,
what is said is what would be, and `not_ours` are directories that look like Mozart's and stay, because nothing proves it.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ipc.errors import MozartError
from ipc.threads import in_thread
from mozartd.coordinator import archive, history, shelf
from mozartd.coordinator.clients import Session
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.retention import Action, Drop, Mend, Pack, Tidy

#: Actions, and directories that are left alone, in one answer.
MOST_TOLD = 1000
#: Scores whose archives are looked for at a time, and archives that are looked into.
PAGE, MOST_PLACES = 500, 200

Row = tuple[str, str, str]
"""action, job, why."""


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    dry_run = params.flag("dry_run")
    params.finish()
    await parts.turn.shown()
    tally = Tally()
    async with parts.keeper.at_once():
        found = await _sort(parts)
        await parts.keeper.count(found.forgotten, lambda size, files, job: tally.whole(job, "history", size, files))
        await parts.keeper.count(found.unknown, lambda size, files, job: tally.whole(job, "no such job", size, files))
        if not dry_run:
            await history.prune(parts)
            for job in found.unknown:
                # It may have been submitted, and have ended, since somebody looked who is known.
                if await parts.store.read_one("job_by_id", job=job) is None:
                    await parts.keeper.remove([job])
        seen = await parts.keeper.play(found.kept, tally.act, dry_run=dry_run)
        if not dry_run:
            await _shrink(parts)
    not_ours = [*found.not_ours, *(await _archives(parts) if dry_run else [])]
    return {"dry_run": dry_run, "log_bytes": tally.bytes + seen, **tally.answer(), **_listed(not_ours)}


async def _shrink(parts: Parts) -> None:
    with suppress(MozartError):  # No room for it, or somebody else has the database: another time.
        await parts.store.shrink(0)


class _Found:
    """The directories of logs, by what becomes of them."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.unknown: list[str] = []
        """Of jobs whose rows are gone: a crash came before their logs were, or the database is another one."""
        self.kept: list[str] = []
        self.not_ours: list[str] = []


async def _sort(parts: Parts) -> _Found:
    forgotten = await history.forgettable(parts)
    known, logs = await parts.store.values("job_ids"), parts.setup.paths.logs

    def sort() -> _Found:
        found = _Found()
        there = shelf.jobs(logs)
        found.forgotten = [*forgotten]
        for job in there:
            if job in forgotten:
                continue
            if job in known or job in parts.book.jobs:
                found.kept.append(job)
            elif shelf.is_marked(logs, job):
                found.unknown.append(job)
            else:
                found.not_ours.append(os.path.join(logs, job))
        return found

    return await in_thread(sort)


async def _archives(parts: Parts) -> list[str]:
    """What `--fresh` of an earlier version may have made, or a person."""
    places: dict[str, None] = {}
    after = 0
    while len(places) < MOST_PLACES and (rows := await parts.store.read("archive_places", after=after, limit=PAGE)):
        after = rows[-1]["seq"]
        places |= {os.path.join(row["workspace"], row["archive_dir"]): None for row in rows if row["archive_dir"]}

    def look() -> list[str]:
        return [path for place in places for path in archive.unmarked(place, parts.identity, MOST_TOLD)]

    return await in_thread(look)


def _listed(paths: list[str]) -> dict[str, Any]:
    return {"not_ours": paths[:MOST_TOLD], "more_not_ours": max(0, len(paths) - MOST_TOLD)}


class Tally:
    """What is done, added up by job and reason."""

    def __init__(self) -> None:
        self._sums: dict[Row, tuple[int, int]] = {}
        self.bytes = 0
        """Of the jobs that go as a whole."""

    def whole(self, job: str, why: str, size: int, files: int) -> None:
        """A job goes with all it has, also when that is nothing."""
        self._add(("remove", job, why), size, files)
        self.bytes += size

    def act(self, action: Action) -> None:
        for row, size, files in _rows(action):
            self._add(row, size, files)

    def _add(self, row: Row, size: int, files: int) -> None:
        before = self._sums.get(row, (0, 0))
        self._sums[row] = before[0] + size, before[1] + files

    def answer(self) -> dict[str, Any]:
        told = heapq.nlargest(MOST_TOLD, self._sums.items(), key=lambda item: item[1][0])
        actions = [
            {"action": action, "job": job, "why": why, "bytes": size, "files": files}
            for (action, job, why), (size, files) in told
        ]
        more = {
            "actions": len(self._sums) - len(told),
            "files": sum(files for _, files in self._sums.values()) - sum(one["files"] for one in actions),  # type: ignore[misc]
            "bytes": sum(size for size, _ in self._sums.values()) - sum(one["bytes"] for one in actions),  # type: ignore[misc]
        }
        totals = {
            f"{name}_bytes": self._total(action) for name, action in (("removed", "remove"), ("compressed", "compress"))
        }
        return {**totals, "actions": actions, "more": more}

    def _total(self, wanted: str) -> int:
        return sum(size for (action, _, _), (size, _) in self._sums.items() if action == wanted)


def _rows(action: Action) -> Iterator[tuple[Row, int, int]]:
    match action:
        case Drop(log, pieces, why):
            yield ("remove", log.job, why), action.bytes, len(pieces)
        case Tidy(log, piece):
            yield ("remove", log.job, "left by a crash"), piece.size, 1
        case Mend(log, _, start, end):
            yield ("mend", log.job, "lost in a crash"), end - start, 1
        case Pack(log, _, count):
            yield ("compress", log.job, ""), count, 1
