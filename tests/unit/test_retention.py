"""Which log files go: the oldest first, what runs never, and once done, nothing is left to do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import inf
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from ipc.segments import LOG, PACKED, UNMASKED
from mozartd.coordinator.retention import (
    ATTEMPT_CAP,
    LEAST_PACKED,
    TEMPORARY,
    TOTAL_CAP,
    Action,
    AttemptLog,
    Bounds,
    Drop,
    Entry,
    Mend,
    Pack,
    Piece,
    Tidy,
    care_for,
    oldest_first,
    packs,
    packs_at,
)

NOW, K = 1000.0, 1024
ROOMY = Bounds(10**9, 10**9, 60.0)


class Plan(NamedTuple):
    actions: tuple[Action, ...]
    due_at: float | None


def plan(logs: list[AttemptLog], running: Collection[str], bounds: Bounds, now: float) -> Plan:
    """What a round does, each job of one attempt."""
    cares = {one.attempt: care_for(one, one.attempt in running, bounds) for one in logs}
    left = {name: care.left for name, care in cares.items()}
    entries = {
        name: Entry(one.bytes, inf if name in running or not one.segments() else one.age[0], None)
        for name, one in left.items()
    }
    over = sum(one.bytes for one in left.values()) - bounds.total_bytes
    drops = list(oldest_first(entries, over, lambda name: [left[name]], lambda: running, bounds))
    for drop in drops:
        left[drop.log.attempt] = left[drop.log.attempt].without(*drop.pieces)
    actions = [action for care in cares.values() for action in care.actions]
    packed = [each for name, one in left.items() for each in packs(one, name in running, bounds.pack_after, now)]
    done = carry_out(list(left.values()), Plan(tuple(packed), None))
    dues = [packs_at(one, one.attempt in running, bounds.pack_after) for one in done]
    return Plan((*actions, *drops, *packed), min((at for at in dues if at is not None), default=None))


def log(sheet: int, *sizes: int, mtime: float = 0.0, kind: str = LOG) -> AttemptLog:
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    pieces = tuple(Piece(start, kind, size, mtime) for start, size in zip(starts, sizes, strict=True))
    return AttemptLog("job-1", sheet, 1, pieces)


def drops(found: Plan) -> dict[int, tuple[int, str]]:
    told: dict[int, tuple[int, str]] = {}
    for one in found.actions:
        if isinstance(one, Drop):
            told[one.log.sheet] = told.get(one.log.sheet, (0, ""))[0] + len(one.starts), one.why
    return told


def carry_out(logs: list[AttemptLog], found: Plan) -> list[AttemptLog]:
    """The logs as they are when the plan is done and compression saves nothing."""
    left = {one.attempt: one for one in logs}
    for action in found.actions:
        before = left[action.log.attempt]
        if isinstance(action, Drop):
            pieces = tuple(piece for piece in before.pieces if piece.start not in action.starts)
        elif isinstance(action, Pack):
            pieces = tuple(p._replace(kind=PACKED) if p.start == action.start else p for p in before.pieces)
        else:
            continue
        left[before.attempt] = replace(before, pieces=pieces)
    return list(left.values())


LOGS = st.lists(
    st.tuples(st.lists(st.integers(1, 300).map(lambda size: size * K), min_size=1, max_size=5), st.integers(0, 1000)),
    max_size=6,
).map(lambda given: [log(n, *sizes, mtime=mtime) for n, (sizes, mtime) in enumerate(given)])
BOUNDS = st.builds(Bounds, st.integers(1, 900 * K), st.integers(1, 2000 * K), st.none() | st.sampled_from([0.0, 60.0]))


@given(LOGS, st.sets(st.integers(0, 5)), BOUNDS)
def test_the_plan_keeps_to_the_bounds_and_is_done_when_it_is_done(
    logs: list[AttemptLog], sheets: set[int], bounds: Bounds
) -> None:
    running = {one.attempt for one in logs if one.sheet in sheets}
    found = plan(logs, running, bounds, NOW)
    left = carry_out(logs, found)
    for one in left:
        size = sum(piece.size for piece in one.pieces)
        assert size <= bounds.attempt_bytes or len(one.pieces) <= 1, "the end stays"
        assert one.pieces or one.attempt not in running
    total = sum(piece.size for one in left for piece in one.pieces)
    assert total <= bounds.total_bytes or all(not one.pieces or one.attempt in running for one in left)
    for before, after in zip(logs, left, strict=True):
        kept = [piece.start for piece in after.pieces]
        assert kept == [piece.start for piece in before.pieces][len(before.pieces) - len(kept) :], "the oldest go"
        if before.attempt in running:
            assert after.pieces[-1] == before.pieces[-1], "what is written to is not touched"
    assert not plan(left, running, bounds, NOW).actions


def test_of_all_logs_those_that_ended_first_go_first() -> None:
    logs = [log(1, 50, 50, mtime=20), log(2, 50, 50, mtime=10), log(3, 500, mtime=1)]
    found = plan(logs, {"job-1:3:1"}, replace(ROOMY, total_bytes=600), NOW)
    assert drops(found) == {2: (2, TOTAL_CAP)}
    assert drops(plan(logs, {"job-1:3:1"}, replace(ROOMY, total_bytes=520), NOW)) == {
        1: (2, TOTAL_CAP),
        2: (2, TOTAL_CAP),
    }
    assert drops(plan(logs, set(), replace(ROOMY, total_bytes=190), NOW)) == {3: (1, TOTAL_CAP), 2: (1, TOTAL_CAP)}


def test_a_running_attempt_keeps_to_its_cap() -> None:
    assert drops(plan([log(1, 50, 50, 50)], {"job-1:1:1"}, replace(ROOMY, attempt_bytes=60), NOW)) == {
        1: (2, ATTEMPT_CAP)
    }


def test_what_is_compressed_and_when() -> None:
    big = LEAST_PACKED
    logs = [log(1, big, big - 1, big, mtime=NOW - 10), log(2, big, mtime=NOW - 60), log(3, big, kind=PACKED)]
    found = plan(logs, {"job-1:1:1"}, ROOMY, NOW)
    packs = [(one.log.sheet, one.start) for one in found.actions if isinstance(one, Pack)]
    assert packs == [(1, 0), (2, 0)], "not what is small, nor what may grow, nor what is done"
    assert plan(logs, set(), ROOMY, NOW).due_at == NOW + 50
    assert not plan(logs, set(), replace(ROOMY, pack_after=None), NOW).actions


def test_what_a_crash_left_is_tidied() -> None:
    """A file that is not whole, a twin, a segment that is shorter than the next one's name says."""
    half, twin = Piece(0, TEMPORARY, 5, 0.0), Piece(0, LOG, 100, 0.0)
    torn = AttemptLog(
        "job-1",
        1,
        1,
        tuple(sorted([half, twin, Piece(0, PACKED, 9, 0.0), Piece(100, LOG, 40, 0.0), Piece(150, LOG, 1, 0.0)])),
    )
    actions = plan([torn], set(), ROOMY, NOW).actions
    assert set(actions) == {Tidy(torn, half), Tidy(torn, twin), Mend(torn, 100, 140, 150)}
    assert not any(isinstance(one, Mend) for one in plan([torn], {"job-1:1:1"}, ROOMY, NOW).actions), (
        "it may be growing"
    )


def test_a_prompt_with_secrets_goes_when_its_worker_left_it() -> None:
    left = replace(log(1, 9), pieces=(Piece(0, LOG, 9, NOW), Piece(0, UNMASKED, 5, NOW)))
    assert plan([left], {left.attempt}, ROOMY, NOW).actions == ()
    assert plan([left], (), ROOMY, NOW).actions == (Tidy(left, left.pieces[1]),)
