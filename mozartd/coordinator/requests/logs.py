"""`logs.follow`: an answer, then every byte of a job's logs, from the first.

{job, sheet?, attempt?, follow, tail?, stream?, cursors?} → {job, subscription, begins?}, then `logs.chunk` notifications
and one `logs.end`; `logs.gone` in the place of bytes that were removed.
`cursors` ({"<sheet>.<k>": offset}) goes on where a lost connection stopped; `tail` begins N lines (of `stream`, if it is named)
before each log's end. Where that is, is fixed when it is answered: `begins` ({"<sheet>.<k>": {"stdout": offset, "stderr":
offset}}), for the reader to leave out what lies before it of the one stream, and to come back with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from ipc.cri import STREAMS
from ipc.errors import MozartError
from ipc.score.schema import BACKENDS
from ipc.threads import in_thread
from mozartd.coordinator.clients import Session
from mozartd.coordinator.followers import Cursor, Filter, Follower
from mozartd.coordinator.model import Job
from mozartd.coordinator.params import InvalidParamsError, Params, is_whole
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.reading import known_end, tail_starts
from mozartd.coordinator.wishes import how_many
from mozartd.store.store import Row


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, follow = params.text("job"), params.flag("follow")
    filter = Filter(params.whole("sheet"), params.whole("attempt"))
    tail, stream = params.whole("tail"), _stream(params.text_or("stream", ""))
    begins = _Begins(_cursors(params.mapping("cursors")), tail, stream)
    params.finish()
    job = await parts.registry.find_whole(typed)
    if filter.sheet is not None and filter.sheet not in job.sheets:
        raise MozartError(
            "unknown_sheet",
            f"cannot show sheet {filter.sheet}: {how_many(job)}",
            f"see `mozart status {job.id}`",
        )
    subscription = session.next_subscription()
    follower = Follower(session.connection, subscription, job, filter, follow, parts.followers.frames)
    if follow:
        await _join(parts, follower, begins)
    else:
        await _open_logs(parts, follower, begins)
        if filter.k is not None and not follower.open_logs():
            raise _no_attempt(job, filter)
        follower.stop_at_present_ends()
    # A task of its own, begun in a later iteration: the answer goes out before the first chunk.
    task = session.spawn(follower.run(), f"follower of {job.id}")
    parts.followers.reading[job.id] += 1
    task.add_done_callback(lambda _: parts.followers.reading.subtract([job.id]))
    if follow:
        task.add_done_callback(lambda _: parts.followers.dismiss(follower))
    answer = {"job": job.id, "subscription": subscription}
    return answer if tail is None else {**answer, "begins": begins.found}


class _Begins:
    """Where a follower begins in each log."""

    def __init__(self, cursors: dict[tuple[int, int], int], tail: int | None, stream: str) -> None:
        self._cursors = cursors
        self._tail = tail
        self._stream = stream
        self.found: dict[str, dict[str, int]] = {}

    async def of(self, path: str, n: int, k: int, written: int | None) -> int:
        if self._tail is None or (n, k) in self._cursors:
            return self._cursors.get((n, k), 0)
        starts = self.found[f"{n}.{k}"] = await in_thread(
            tail_starts, path, self._tail, self._stream, known_end(written)
        )
        return min(starts.values())


def _no_attempt(job: Job, filter: Filter) -> MozartError:
    """Said to who asks for what is there; a follower waits for it."""
    whose = f"sheet {filter.sheet} of {job.id}" if filter.sheet is not None else f"any sheet of {job.id}"
    message = f"cannot show attempt {filter.k} of {whose}: there is none"
    return MozartError("unknown_attempt", message, f"see `mozart status {job.id}`")


async def _join(parts: Parts, follower: Follower, begins: _Begins) -> None:
    """Hear of what comes. Enrolled before its logs are looked up: an attempt that starts meanwhile is not missed."""
    parts.followers.enrol(follower)
    try:
        await _open_logs(parts, follower, begins)
    except BaseException:
        parts.followers.dismiss(follower)
        raise
    running = [attempt for attempt in parts.book.running.values() if attempt.job == follower.job.id]
    parts.followers.watch(follower, running)


async def _open_logs(parts: Parts, follower: Follower, begins: _Begins) -> None:
    job, filter = follower.job, follower.filter
    await parts.turn.shown()
    rows = await parts.store.read("attempts_in_order", seq=job.seq)
    sections = await _sections(parts, job, rows)
    for row in rows:
        n, k = row["n"], row["k"]
        if filter.takes(n, k):
            path = parts.setup.paths.attempt_log(job.id, n, k)
            offset = await begins.of(path, n, k, row["written"] if row["state"] == "ended" else None)
            section = sections(n, k)
            cursor = Cursor(n, k, path, section["type"], section.get("profile"), offset, row["state"] == "ended")
            cursor.written = row["written"]
            follower.add(cursor)
    _close_ended(parts, follower)


async def _sections(parts: Parts, job: Job, rows: list[Row]) -> Callable[[int, int], dict[str, Any]]:
    """What each of these attempts ran on. The score is only looked at when a profile may be in it."""
    ran = {(row["n"], row["k"]): orjson.loads(row["ran"]) for row in rows}
    # One that an earlier version started does not say.
    names = {key: name or job.sheets[key[0]].scope.partition("/")[0] for key, (name, _) in ran.items()}
    if set(BACKENDS).issuperset(names.values()):
        return lambda n, k: {"type": names[n, k]}
    score = await parts.scores.load(job.seq)

    def section(n: int, k: int) -> dict[str, Any]:
        found = score.backend_of(n, ran[n, k][1] or 0)
        # By a score of before it may have been another backend, whose profile is gone with that score.
        return found if found["type"] == names[n, k] else {"type": names[n, k]}

    return section


def _close_ended(parts: Parts, follower: Follower) -> None:
    """An attempt may have ended while its row was read: the book knows what still runs."""
    for sheet, k in follower.open_logs():
        if f"{follower.job.id}:{sheet}:{k}" not in parts.book.running:
            follower.mark_ended(sheet, k)


def _stream(name: str) -> str:
    if name not in ("", *STREAMS):
        raise InvalidParamsError(f"cannot follow the stream {name[:50]!r}")
    return name


def _cursors(values: dict[str, Any]) -> dict[tuple[int, int], int]:
    cursors = {}
    for key, offset in values.items():
        numbers = re.fullmatch(r"([0-9]{1,18})\.([0-9]{1,18})", key)
        if not numbers or not is_whole(offset):
            raise InvalidParamsError(f"cannot use the cursor {key[:50]!r}: {str(offset)[:50]}")
        cursors[int(numbers[1]), int(numbers[2])] = offset
    return cursors
