"""Which log files go, and which are compressed: a pure function of what is on disk, what runs, the settings, and the time.

The newest bytes are worth most: of one attempt the oldest segments go first, of all attempts those that ended first. What a
running attempt writes to is never touched, nor is its log for the sake of others. What `mozart gc --dry-run` shows is this
plan; `keeper` carries it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ipc.messages import attempt_id
from ipc.segments import LOG, PACKED, UNMASKED

#: Suffix of what is not whole yet. Nobody works on it while a plan is made: a crash left it.
TEMPORARY = ".tmp"
#: A smaller segment stays plain: it takes a block of the disk either way, and anybody can read it.
LEAST_PACKED = 64 * 1024

ATTEMPT_CAP, TOTAL_CAP, CRASH = "log_attempt_bytes", "log_total_bytes", "a crash"


class Piece(NamedTuple):
    """A file of a log."""

    start: int
    kind: str
    """LOG, PACKED, GONE, UNMASKED or TEMPORARY."""
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


@dataclass(frozen=True, slots=True)
class Bounds:
    attempt_bytes: int
    total_bytes: int
    pack_after: float | None
    """Seconds after its last byte when an ended attempt's log is compressed; None: nothing is."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The first segments of a log go."""

    log: AttemptLog
    starts: tuple[int, ...]
    bytes: int
    why: str


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
class Plan:
    actions: tuple[Action, ...]
    bytes: int
    """All logs', before anything is done."""
    due_at: float | None
    """When something more is to be compressed, if nothing else happens."""


def plan(logs: Sequence[AttemptLog], running: Collection[str], bounds: Bounds, now: float) -> Plan:
    actions: list[Action] = [action for log in logs for action in _repairs(log, log.attempt in running)]
    total = sum(piece.size for log in logs for piece in log.segments())
    drops, left = _drops(logs, running, bounds)
    packs, due_at = _packs(left, running, bounds.pack_after, now)
    return Plan((*actions, *drops, *packs), total, due_at)


def _repairs(log: AttemptLog, is_running: bool) -> Iterator[Action]:
    packed = {piece.start for piece in log.pieces if piece.kind == PACKED}
    known = {piece.start for piece in log.pieces if piece.kind not in (TEMPORARY, UNMASKED)}
    for piece in log.pieces:
        is_left = piece.kind == UNMASKED and not is_running
        if is_left or piece.kind == TEMPORARY or (piece.kind == LOG and piece.start in packed):
            yield Tidy(log, piece)
    segments = log.segments()
    for piece, behind in pairwise(segments):
        end = piece.start + piece.size
        # Of a compressed one only its header knows the end; it has that of the plain one, which was looked at then.
        if piece.kind == LOG and end < behind.start and end not in known and not is_running:
            yield Mend(log, piece.start, end, behind.start)


def _drops(
    logs: Sequence[AttemptLog], running: Collection[str], bounds: Bounds
) -> tuple[list[Drop], list[tuple[AttemptLog, tuple[Piece, ...]]]]:
    """What goes, and what of each log is left."""
    gone: dict[str, tuple[int, str]] = {}
    for log in logs:
        segments = log.segments()
        # The last one stays, whatever its size: it is the end, and its writer may be at work.
        count = _count_to_drop(segments[:-1], sum(piece.size for piece in segments) - bounds.attempt_bytes)
        gone[log.attempt] = count, ATTEMPT_CAP
    over = sum(_size(log, gone) for log in logs) - bounds.total_bytes
    for log in sorted((log for log in logs if log.attempt not in running), key=_ended):
        if over <= 0:
            break
        count, _ = gone[log.attempt]
        more = _count_to_drop(log.segments()[count:], over)
        over -= sum(piece.size for piece in log.segments()[count : count + more])
        if more:
            gone[log.attempt] = count + more, TOTAL_CAP
    drops = [_drop(log, *gone[log.attempt]) for log in logs if gone[log.attempt][0]]
    return drops, [(log, log.segments()[gone[log.attempt][0] :]) for log in logs]


def _count_to_drop(segments: Sequence[Piece], over: int) -> int:
    """How many of the first ones must go."""
    for count, piece in enumerate(segments):
        if over <= 0:
            return count
        over -= piece.size
    return len(segments)


def _size(log: AttemptLog, gone: dict[str, tuple[int, str]]) -> int:
    return sum(piece.size for piece in log.segments()[gone[log.attempt][0] :])


def _ended(log: AttemptLog) -> float:
    return max((piece.mtime for piece in log.segments()), default=0.0)


def _drop(log: AttemptLog, count: int, why: str) -> Drop:
    pieces = log.segments()[:count]
    return Drop(log, tuple(piece.start for piece in pieces), sum(piece.size for piece in pieces), why)


def _packs(
    left: Sequence[tuple[AttemptLog, tuple[Piece, ...]]], running: Collection[str], after: float | None, now: float
) -> tuple[list[Pack], float | None]:
    if after is None:
        return [], None
    packs, dues = [], []
    for log, segments in left:
        for piece in segments:
            if piece.kind != LOG or piece.size < LEAST_PACKED:
                continue
            if piece is not segments[-1]:
                packs.append(Pack(log, piece.start, piece.size))
            elif log.attempt not in running:
                if piece.mtime + after <= now:
                    packs.append(Pack(log, piece.start, piece.size))
                else:
                    dues.append(piece.mtime + after)
    return packs, min(dues, default=None)
