"""Which log files go, and which are compressed: pure functions of what is on disk, what runs, the settings, and the time.

The newest bytes are worth most: of one attempt the oldest segments go first, of all attempts those that ended first. What a
running attempt writes to is never touched, nor is its log for the sake of others. Decides about one attempt's log at a time
(`care_for`), and about the order in which whole logs go (`oldest_first`), so that nobody ever has to hold all of them. What
`mozart gc --dry-run` shows are these decisions; `rounds` asks for them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from ipc.messages import attempt_id
from ipc.segments import LOG, PACKED, UNMASKED

#: Suffix of what is not whole yet. Nobody works on it while a plan is made: a crash left it.
TEMPORARY = ".tmp"
#: Beside a log: the prompt that was sent, and what an agent writes in place of a pipe.
PROMPT, SPOOL, SYSTEM = ".prompt", ".log.spool", ".system"
#: A smaller segment stays plain: it takes a block of the disk either way, and anybody can read it.
LEAST_PACKED = 64 * 1024

#: Attempts' logs that `oldest_first` holds at once, at most.
MOST_HELD = 50_000

ATTEMPT_CAP, TOTAL_CAP, CRASH = "log_attempt_bytes", "log_total_bytes", "a crash"


#: When the last byte of a log was written, and whose it is: the order in which logs go.
Age = tuple[float, int, int]


class Piece(NamedTuple):
    """A file of a log."""

    start: int
    kind: str
    """LOG, PACKED, GONE, UNMASKED, PROMPT, SPOOL, SYSTEM or TEMPORARY."""
    size: int
    """On disk."""
    mtime: float


@dataclass(frozen=True, slots=True)
class AttemptLog:
    job: str
    sheet: int
    k: int
    pieces: tuple[Piece, ...]
    """In the order of their offsets."""

    def segments(self) -> tuple[Piece, ...]:
        """Those that hold bytes. Of twins the compressed one: it is whole, or it would not have its name."""
        packed = {piece.start for piece in self.pieces if piece.kind == PACKED}
        return tuple(
            piece for piece in self.pieces if piece.kind == PACKED or (piece.kind == LOG and piece.start not in packed)
        )

    @property
    def attempt(self) -> str:
        return attempt_id(self.job, self.sheet, self.k)

    @property
    def bytes(self) -> int:
        """On disk, with all that belongs to it."""
        return sum(piece.size for piece in self.pieces)

    @property
    def age(self) -> Age:
        """Whose is smaller ended earlier."""
        return max((piece.mtime for piece in self.segments()), default=0.0), self.sheet, self.k

    def without(self, *gone: Piece) -> AttemptLog:
        return replace(self, pieces=tuple(piece for piece in self.pieces if piece not in gone))


@dataclass(frozen=True, slots=True)
class Bounds:
    attempt_bytes: int
    total_bytes: int
    pack_after: float | None
    """Seconds after its last byte when an ended attempt's log is compressed; None: nothing is."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The first segments of a log go; with the last of them the prompt."""

    log: AttemptLog
    pieces: tuple[Piece, ...]
    why: str

    @property
    def bytes(self) -> int:
        return sum(piece.size for piece in self.pieces)

    @property
    def starts(self) -> tuple[int, ...]:
        return tuple(piece.start for piece in self.pieces if piece.kind != PROMPT)


@dataclass(frozen=True, slots=True)
class Pack:
    log: AttemptLog
    start: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Tidy:
    """A file that a crash left: between two steps, or of a worker that was killed."""

    log: AttemptLog
    piece: Piece


@dataclass(frozen=True, slots=True)
class Mend:
    """The machine crashed and took bytes between the end of one segment and the next: leave word."""

    log: AttemptLog
    segment: int
    """The one that is too short."""
    start: int
    end: int


Action = Tidy | Mend | Drop | Pack


@dataclass(frozen=True, slots=True)
class Care:
    """What one attempt's log needs, whatever the others are."""

    actions: tuple[Tidy | Mend | Drop, ...]
    left: AttemptLog
    """As it is when that is done."""
    packs_at: float | None
    """When something of it is to be compressed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of a job's logs."""

    bytes: int
    oldest: float
    """When the first of its attempts ended of which something can be removed; inf: there is none."""
    packs_at: float | None


def care_for(log: AttemptLog, is_running: bool, bounds: Bounds) -> Care:
    repairs = tuple(_repairs(log, is_running))
    segments = log.segments()
    # The last one stays, whatever its size: it is the end, and its writer may be at work.
    count = _count_to_drop(segments[:-1], sum(piece.size for piece in segments) - bounds.attempt_bytes)
    drop = (Drop(log, segments[:count], ATTEMPT_CAP),) if count else ()
    tidied = [action.piece for action in repairs if isinstance(action, Tidy)]
    left = log.without(*tidied, *segments[:count])
    return Care((*repairs, *drop), left, packs_at(left, is_running, bounds.pack_after))


def _repairs(log: AttemptLog, is_running: bool) -> Iterator[Tidy | Mend]:
    packed = {piece.start for piece in log.pieces if piece.kind == PACKED}
    known = {piece.start for piece in log.pieces if piece.kind not in (TEMPORARY, UNMASKED, PROMPT, SPOOL, SYSTEM)}
    for piece in log.pieces:
        is_left = piece.kind in (UNMASKED, SPOOL, SYSTEM) and not is_running
        if is_left or piece.kind == TEMPORARY or (piece.kind == LOG and piece.start in packed):
            yield Tidy(log, piece)
    segments = log.segments()
    for piece, behind in pairwise(segments):
        end = piece.start + piece.size
        # Of a compressed one only its header knows the end; it has that of the plain one, which was looked at then.
        if piece.kind == LOG and end < behind.start and end not in known and not is_running:
            yield Mend(log, piece.start, end, behind.start)


def _count_to_drop(segments: Sequence[Piece], over: int) -> int:
    """How many of the first ones must go."""
    for count, piece in enumerate(segments):
        if over <= 0:
            return count
        over -= piece.size
    return len(segments)


# ---- which logs of all go -------------------------------------------------------------------------------------------


def oldest_first(
    entries: Mapping[str, Entry],
    over: int,
    logs_of: Callable[[str], Iterable[AttemptLog]],
    running: Callable[[], Container[str]],
    bounds: Bounds,
) -> Iterator[Drop]:
    """What goes so that `over` bytes are freed: of all jobs' attempts those that ended first. A merge of the jobs, whose logs
    are looked at when their turn comes."""
    queue = [(entry.oldest, job) for job, entry in entries.items() if entry.oldest < math.inf]
    heapq.heapify(queue)
    held: dict[str, list[AttemptLog]] = {}
    behind: dict[str, Age] = {}
    while over > 0 and queue:
        _, job = heapq.heappop(queue)
        until = queue[0][0] if queue else math.inf
        logs = held.pop(job, None) or _removable(logs_of(job), running(), bounds, behind.get(job))
        while logs and over > 0 and logs[-1].age[0] <= until:
            log = logs.pop()
            behind[job] = log.age
            drop = _drop_first(log, over)
            over -= drop.bytes
            yield drop
        if logs:
            heapq.heappush(queue, (logs[-1].age[0], job))
            if len(logs) + sum(map(len, held.values())) > MOST_HELD:
                held.clear()
            held[job] = logs


def _removable(
    logs: Iterable[AttemptLog], running: Container[str], bounds: Bounds, behind: Age | None
) -> list[AttemptLog]:
    """The last one is to go first. As `care_for` leaves them: that may not be done yet."""
    found = [care_for(log, is_running=False, bounds=bounds).left for log in logs if log.attempt not in running]
    found = [log for log in found if log.segments() and (behind is None or log.age > behind)]
    return sorted(found, key=lambda log: log.age, reverse=True)


def _drop_first(log: AttemptLog, over: int) -> Drop:
    segments = log.segments()
    count = _count_to_drop(segments, over)
    prompt = tuple(piece for piece in log.pieces if piece.kind == PROMPT) if count == len(segments) else ()
    return Drop(log, (*segments[:count], *prompt), TOTAL_CAP)


# ---- what is compressed ---------------------------------------------------------------------------------------------


def packs_at(log: AttemptLog, is_running: bool, after: float | None) -> float | None:
    """When the first of its segments is to be compressed; None: none of them. One that others follow at once."""
    segments = log.segments()
    times = [_packs_at(piece, piece is segments[-1], is_running, after) for piece in segments]
    return min((at for at in times if at is not None), default=None)


def packs(log: AttemptLog, is_running: bool, after: float | None, now: float) -> list[Pack]:
    segments = log.segments()
    times = [(piece, _packs_at(piece, piece is segments[-1], is_running, after)) for piece in segments]
    return [Pack(log, piece.start, piece.size) for piece, at in times if at is not None and at <= now]


def _packs_at(piece: Piece, is_last: bool, is_running: bool, after: float | None) -> float | None:
    if after is None or piece.kind != LOG or piece.size < LEAST_PACKED:
        return None
    if not is_last:
        return 0.0
    return None if is_running else piece.mtime + after
