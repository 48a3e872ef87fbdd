"""Who watches logs: each follower is a cursor on files.

A follower sends what lies between its cursor and the end of each attempt's log, at its own reader's pace; live is just not
being at the end. So replay and live are one path, and a slow follower slows nobody. After a coordinator's death the CLI
comes back with its cursors. What is not there any more it says, and goes on behind it. Which files a log has is `reading`'s.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from ipc.connection import Connection
from ipc.segments import Link
from ipc.states import Job as JobState
from mozartd.coordinator.model import Attempt, Job
from mozartd.coordinator.reading import WINDOW, LogReader, log_end

#: Encoded chunks kept for other followers of the same log.
KEPT_FRAMES = 8

#: Exit code of a command that follows a job to its end, by the job's state.
EXIT_CODES = {JobState.COMPLETED: 0, JobState.FAILED: 1, JobState.CANCELLED: 3, JobState.PAUSED: 3}


@dataclass(slots=True)
class Cursor:
    """One attempt's log as one follower has it."""

    sheet: int
    k: int
    path: str
    backend: str
    profile: dict[str, Any] | None = None
    """Of a backend that is a profile of the user's: its renderer is made of it."""
    offset: int = 0
    ended: bool = False
    """No more will be written."""
    limit: int | None = None
    """What lies beyond is not wanted: it was written after the question."""
    written: int | None = None
    """Where its log ended, as its writer has said at its end."""
    reader: LogReader = field(init=False)
    _is_over: bool = field(init=False, default=False)
    """It was said that the rest is lost, however much that was."""

    def __post_init__(self) -> None:
        self.reader = LogReader(self.path)

    def read(self) -> bytes | Link:
        """The next whole records, or what is gone instead; empty at the end, or where the log is not there yet."""
        if self._is_over:
            return b""
        self.reader.expected = self.written if self.ended and self.limit is None else None
        found = self.reader.read(self.offset)
        if isinstance(found, Link):
            self._is_over = found.end <= self.offset
        if isinstance(found, Link) or len(found) <= (wanted := self._wanted()):
            return found
        return found[: found.rfind(b"\n", 0, wanted) + 1]

    def is_growing(self) -> bool:
        """There is more to come, and who waits for it will be told."""
        return not self.ended and self.limit is None

    def is_satisfied(self) -> bool:
        return self._wanted() == 0

    def _wanted(self) -> int:
        return WINDOW if self.limit is None else max(0, min(WINDOW, self.limit - self.offset))

    def close(self) -> None:
        self.reader.close()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which attempts of a job: one sheet's or all, one attempt's or all."""

    sheet: int | None = None
    k: int | None = None

    def takes(self, sheet: int, k: int) -> bool:
        return self.sheet in (None, sheet) and self.k in (None, k)


class Frames:
    """Chunks as they go over the wire, shared by followers that stand at the same place: twenty cost little more than one.

    A kept chunk may end before the log does by now; who gets it goes on at its end, where the next one is shared again.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], tuple[int, bytes, bytes]] = OrderedDict()
        self._ends: dict[str, int] = {}
        """Where growing logs ended when somebody looked; whoever else stands there need not look before they grow."""
        self.on_lost: Callable[[str], None] = lambda sentence: None
        """Something of a log is not there that should be."""

    def next(self, job: str, cursor: Cursor) -> tuple[int, bytes, bytes] | None:
        """Where the chunk at the cursor ends, its method, and what all followers get of it; None when nothing is there."""
        if cursor.is_satisfied() or (cursor.is_growing() and self._ends.get(cursor.path) == cursor.offset):
            return None
        key = (cursor.path, cursor.offset)
        found = self._kept.get(key)
        if found is None:
            data = cursor.read()
            if isinstance(data, Link):
                if data.is_lost:
                    self.on_lost(f"the log of sheet {cursor.sheet} of {job} is {data.why}, from byte {data.start}")
                return data.end, b"logs.gone", _encode_gone(job, cursor, data)
            if not data:
                if cursor.is_growing():
                    self._ends[cursor.path] = cursor.offset
                return None
            found = self._kept[key] = (cursor.offset + len(data), b"logs.chunk", _encode(job, cursor, data))
            if len(self._kept) > KEPT_FRAMES:
                self._kept.popitem(last=False)
        return found

    def grew(self) -> None:
        """Some log has more than it had, or has come to its end."""
        self._ends.clear()

    def clear(self) -> None:
        self._kept.clear()
        self._ends.clear()


def _encode_gone(job: str, cursor: Cursor, gone: Link) -> bytes:
    return _rest_of({
        "job": job, "sheet": cursor.sheet, "attempt": cursor.k, "offset": cursor.offset, "end": gone.end, "why": gone.why,
        "lost": gone.is_lost,
    })  # fmt: skip


def _encode(job: str, cursor: Cursor, data: bytes) -> bytes:
    params: dict[str, Any] = {
        "job": job, "sheet": cursor.sheet, "attempt": cursor.k, "offset": cursor.offset, "end": cursor.offset + len(data),
        "backend": cursor.backend,
    }  # fmt: skip
    if cursor.profile is not None:
        params["profile"] = cursor.profile
    try:
        params["text"] = data.decode()
    except UnicodeDecodeError:
        params["base64"] = base64.b64encode(data).decode()
    return _rest_of(params)


def _rest_of(params: dict[str, Any]) -> bytes:
    """Of a notification's frame: what follows behind the subscription's number."""
    return b"," + orjson.dumps(params)[1:] + b"}"


def _head_of(method: bytes, subscription: int, rest: bytes) -> bytes:
    """What comes before that, the frame's length included: all that is one follower's own."""
    head = b'{"jsonrpc":"2.0","method":"%s","params":{"subscription":%d' % (method, subscription)
    return (len(head) + len(rest)).to_bytes(4, "big") + head


class Follower:
    """One `logs.follow`. `run` is its task; `wake` tells it that something grew, started or ended."""

    def __init__(
        self, connection: Connection, subscription: int, job: Job, filter: Filter, follow: bool, frames: Frames
    ) -> None:
        self.job = job
        self.filter = filter
        self._frames = frames
        self._connection = connection
        self._subscription = subscription
        self._follow = follow
        self._cursors: dict[tuple[int, int], Cursor] = {}
        self._woken = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Follower of {self.job.id}, {len(self._cursors)} open logs>"

    def add(self, cursor: Cursor) -> None:
        self._cursors.setdefault((cursor.sheet, cursor.k), cursor)
        self._woken.set()

    def open_logs(self) -> list[tuple[int, int]]:
        """(sheet, attempt) of the logs that are not sent to their end."""
        return list(self._cursors)

    def stop_at_present_ends(self) -> None:
        """Want nothing that is written from now on: an agent may write faster than a reader reads."""
        for cursor in self._cursors.values():
            if not cursor.ended:
                cursor.limit = log_end(cursor.path)

    def wake(self) -> None:
        self._frames.grew()
        self._woken.set()

    def mark_ended(self, sheet: int, k: int, written: int | None = None) -> None:
        cursor = self._cursors.get((sheet, k))
        if cursor is not None:
            cursor.ended = True
            cursor.written = written if cursor.written is None else cursor.written
        self._woken.set()

    async def run(self) -> None:
        """Send until there is nothing more to come."""
        try:
            while not self._connection.lost:
                self._woken.clear()
                over = self._is_over()
                if await self._send_all():
                    continue
                if over:
                    params = {"subscription": self._subscription, **end_of(self.job)}
                    self._connection.send({"jsonrpc": "2.0", "method": "logs.end", "params": params})
                    return
                await self._woken.wait()
        finally:
            for cursor in self._cursors.values():
                cursor.close()

    def _is_over(self) -> bool:
        """Asked before reading: what was written before the end is read after it."""
        return not self._follow or self.job.is_over

    async def _send_all(self) -> bool:
        """One round over all logs, oldest first; an ended one is sent to its end before the next. False: nothing new."""
        sent = False
        for key, cursor in list(self._cursors.items()):
            ended = cursor.ended
            while self._send_some(cursor):
                sent = True
                await self._connection.drained()
                if not ended or self._connection.lost:
                    break
            else:
                if ended:
                    cursor.close()
                    del self._cursors[key]
        return sent

    def _send_some(self, cursor: Cursor) -> bool:
        found = self._frames.next(self.job.id, cursor)
        if found is None:
            return False
        cursor.offset, method, rest = found
        self._connection.send_bytes(_head_of(method, self._subscription, rest))
        self._connection.send_bytes(rest)
        return True


class Followers:
    """All of them, by job; asks workers for `grew` frames while somebody watches."""

    def __init__(self, watch: Callable[[str, bool], None]) -> None:
        self._watch = watch
        self.frames = Frames()
        self._by_job: dict[str, set[Follower]] = {}
        self.reading: Counter[str] = Counter()
        """How many read a job's logs now, those included who do not follow: it must not be forgotten under their hands."""
        self._watched: dict[str, set[str]] = {}
        """Running attempts whose workers were asked for `grew`, by job."""

    def __len__(self) -> int:
        return sum(map(len, self._by_job.values()))

    def enrol(self, follower: Follower) -> None:
        """It hears of its job's attempts from now on, until `dismiss`."""
        self._by_job.setdefault(follower.job.id, set()).add(follower)

    def watch(self, follower: Follower, running: Iterable[Attempt]) -> None:
        """Ask the workers of what runs now for `grew` frames."""
        for attempt in running:
            if follower.filter.takes(attempt.n, attempt.k):
                self._watched.setdefault(attempt.job, set()).add(attempt.id)
                self._watch(attempt.id, True)

    def dismiss(self, follower: Follower) -> None:
        group = self._by_job[follower.job.id]
        group.discard(follower)
        if not group:
            del self._by_job[follower.job.id]
            self.frames.clear()
            for id in self._watched.pop(follower.job.id, ()):
                self._watch(id, False)

    def is_watched(self, attempt: Attempt) -> bool:
        return any(follower.filter.takes(attempt.n, attempt.k) for follower in self._by_job.get(attempt.job, ()))

    def started(self, attempt: Attempt, path: str, backend: dict[str, Any]) -> None:
        """A new attempt, perhaps of a watched job."""
        for follower in self._by_job.get(attempt.job, ()):
            if follower.filter.takes(attempt.n, attempt.k):
                self._watched.setdefault(attempt.job, set()).add(attempt.id)
                follower.add(Cursor(attempt.n, attempt.k, path, backend["type"], backend.get("profile")))

    def grew(self, attempt: Attempt) -> None:
        for follower in self._by_job.get(attempt.job, ()):
            follower.wake()

    def ended(self, attempt: Attempt) -> None:
        """The attempt's log is complete."""
        self._watched.get(attempt.job, set()).discard(attempt.id)
        for follower in self._by_job.get(attempt.job, ()):
            follower.mark_ended(attempt.n, attempt.k, attempt.facts.get("log_bytes"))

    def job_changed(self, job: Job) -> None:
        """The job ended or paused: its followers look whether that was all."""
        for follower in self._by_job.get(job.id, ()):
            follower.wake()


def end_of(job: Job) -> dict[str, Any]:
    """How a stream that follows this job ends."""
    return {"job": job.id, "state": job.state.value, "reason": job.reason, "exit_code": EXIT_CODES.get(job.state, 0)}
