"""What the supervisor must do next, as a pure function of what is wanted, what lives and the time.

Commands, signals and deaths only change what is wanted (`Wanted`); `converge` compares it with the children that live
and says which to start, drain, stop or kill, and until when nothing more will be due. The supervisor acts. Nothing
here reads a clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from mozartd.backoff import Tally
from mozartd.liveness import Pulse


class Phase(StrEnum):
    RUNNING = "running"
    STOPPING = "stopping"
    """Workers are asked to stop, then the coordinator, then the supervisor ends."""
    KILLING = "killing"
    """No more asking."""


class Slot(NamedTuple):
    """The place of one child: the coordinator's, or that of the n-th worker."""

    role: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.role}-{self.number}" if self.number else self.role


COORDINATOR = Slot("coordinator")


def worker(number: int) -> Slot:
    return Slot("worker", number)


@dataclass(slots=True, eq=False)
class Child:
    slot: Slot
    name: str
    pid: int
    born: float
    generation: int
    """Of the settings it was started with."""
    liveness: int
    """Descriptor of the file it beats on."""
    pulse: Pulse
    # As it was told at its birth: a child that drains for hours beats on as before whatever the settings say by then.
    liveness_seconds: float = 30.0
    """How long its loop may stand still."""
    stop_patience: float = 20.0
    """Seconds between asking it to stop and killing it."""
    is_draining: bool = False
    stop_sent: float | None = None
    abort_sent: float | None = None
    is_killed: bool = False


@dataclass(slots=True)
class Wanted:
    phase: Phase
    workers: int
    generations: dict[str, int] = field(default_factory=lambda: {"coordinator": 0, "worker": 0})
    """Children of an older generation are replaced."""
    abort_patience: float = 2.0
    """Seconds a hung child gets to write down where it hangs."""


class Spawn(NamedTuple):
    slot: Slot


class Drain(NamedTuple):
    child: Child


class Stop(NamedTuple):
    child: Child


class Abort(NamedTuple):
    child: Child


class Kill(NamedTuple):
    child: Child
    reason: str


Action = Spawn | Drain | Stop | Abort | Kill

_NEVER = math.inf


class Plan(NamedTuple):
    actions: list[Action]
    wake_at: float
    """Nothing is due before, unless something happens."""
    is_over: bool
    """No child is left and none is wanted."""


def converge(wanted: Wanted, children: Sequence[Child], tallies: Mapping[Slot, Tally], now: float) -> Plan:
    slots = wanted_slots(wanted, children)
    actions: list[Action] = []
    wake_at = _NEVER
    for child in children:
        action, due = _tend(wanted, child, child.slot in slots, now)
        wake_at = min(wake_at, due)
        if action is not None:
            actions.append(action)
    for slot in sorted(slots - {child.slot for child in children if not child.is_draining}):
        not_before = tallies.get(slot, Tally()).not_before
        if not_before > now:
            wake_at = min(wake_at, not_before)
        else:
            actions.append(Spawn(slot))
    return Plan(actions, wake_at, not slots and not children)


def wanted_slots(wanted: Wanted, children: Sequence[Child]) -> set[Slot]:
    """The coordinator outlives the workers, because they report to it what they stop."""
    if wanted.phase is Phase.RUNNING:
        return {COORDINATOR, *(worker(number + 1) for number in range(wanted.workers))}
    if wanted.phase is Phase.STOPPING and any(child.slot.role == "worker" for child in children):
        return {COORDINATOR}
    return set()


def _tend(wanted: Wanted, child: Child, is_wanted: bool, now: float) -> tuple[Action | None, float]:
    """What is due for one child, and when to look at it again."""
    if child.is_killed:
        return None, _NEVER
    if wanted.phase is Phase.KILLING:
        return Kill(child, "told to stop at once"), _NEVER
    hung, due = _tend_hung(wanted, child, now)
    if hung is not None or child.abort_sent is not None:
        return hung, due
    if child.stop_sent is not None:
        limit = child.stop_sent + child.stop_patience
        return (Kill(child, "did not stop in time"), _NEVER) if now >= limit else (None, min(due, limit))
    if is_wanted and child.generation == wanted.generations[child.slot.role] and not child.is_draining:
        return None, due
    if wanted.phase is Phase.RUNNING and child.slot.role == "worker":
        return (None, due) if child.is_draining else (Drain(child), due)
    return Stop(child), due


def _tend_hung(wanted: Wanted, child: Child, now: float) -> tuple[Action | None, float]:
    if child.abort_sent is not None:
        limit = child.abort_sent + wanted.abort_patience
        return (Kill(child, "hangs"), _NEVER) if now >= limit else (None, limit)
    if child.pulse.is_stale:
        return Abort(child), now + wanted.abort_patience
    return None, child.pulse.next_look(child.liveness_seconds)
