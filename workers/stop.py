"""Ending what an attempt started: its group by signals and patience, everything that escaped by force.

Agents run their tools in sessions of their own, so killing the group is never enough. What escaped is found three ways:
descendants noted before a signal is sent; orphans that came home (the worker is their subreaper) and have the attempt's tag
(`tags`), carry its mark in their environment, or are of a session that it led. Who has shed all of that is left while an
attempt runs that ran at its birth, is counted as a survivor, and goes with the last of those. A normal end is followed by the
same sweep.
Called by `agent` and `commands`; by `main` with every beat (`kill_late`) and at its end (`kill_everything`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from workers import processes, tags
from workers.processes import Seen
from workers.spawn import Child, Children

log = logging.getLogger("mozart.worker")

#: Seconds that killed processes get to be gone; what is still there then is a survivor (uninterruptible, say).
KILL_SECONDS = 5.0
#: Victims waited for at once: each costs a file descriptor.
WATCHED_AT_ONCE = 64

STATE, ATTEMPT = "MOZART_STATE", "MOZART_ATTEMPT_ID"
_MARK = (STATE.encode(), ATTEMPT.encode())


@dataclass(slots=True)
class Traces:
    """How the processes of one attempt are recognised after they have left its tree."""

    state: str
    attempt: str
    tag: int = field(default_factory=tags.new)
    began: int = field(default_factory=processes.ticks)
    """Clock ticks since boot."""
    kept: set[str] = field(default_factory=set)
    """Names of what is to be left running by the settings, and was."""
    sessions: set[int] = field(default_factory=set)
    """Of the agent and of the commands that ran for this attempt."""
    noted: dict[int, int] = field(default_factory=dict)
    """pid → start time of descendants seen before a signal was sent."""


class Signs(NamedTuple):
    """What a stray shows of where it comes from."""

    tag: int | None
    mark: tuple[bytes | None, ...]
    session: int
    born: int
    """Clock ticks since boot."""


def owns(signs: Signs, traces: Traces, running: Collection[Traces]) -> bool:
    """Whether a stray with these signs is ours to kill, while `running` (with us or not) also run."""
    claimed = _claimed(signs, traces, running)
    if claimed is not None:
        return claimed
    # Nothing says whose it is: ours when nobody else who runs can have lost it. One tick is as good as none.
    return all(other is traces or other.began > signs.born + 1 for other in running)


def _claimed(signs: Signs, traces: Traces, running: Collection[Traces]) -> bool | None:
    """None when nothing says whose it is."""
    if tags.is_ours(signs.tag):
        # Of an attempt that has ended: nobody else will come for it.
        return signs.tag == traces.tag or all(other.tag != signs.tag for other in running)
    state, attempt = signs.mark
    if state is not None and os.fsdecode(state) == traces.state and attempt is not None:
        name = os.fsdecode(attempt)
        return name == traces.attempt or all(other.attempt != name for other in running)
    return True if signs.session in traces.sessions else None


async def stop(children: Children, child: Child, steps: Sequence[tuple[signal.Signals, float]], traces: Traces) -> None:
    """Signal the group step by step until the leader ends, KILL last. The caller sweeps afterwards."""
    for number, grace in steps:
        _note(child, traces)
        child.signal_group(number)
        if await _ends_within(children, child, grace):
            return
    _note(child, traces)
    child.signal_group(signal.SIGKILL)
    await _ends_within(children, child, KILL_SECONDS)


async def sweep(children: Children, traces: Traces, running: Collection[Traces]) -> int:
    """Kill what is left of this attempt, also what it starts meanwhile. The number that outlived it."""
    if not traces.noted and not _strays(children):
        return 0
    deadline = children.awake.now() + KILL_SECONDS
    while victims := _victims(children, traces, running):
        for victim in victims:
            processes.kill(victim)
        left = deadline - children.awake.now(children.awake.real(deadline))
        if left <= 0:
            return len(victims) + _unclaimed(children, traces, running)
        await _gone(children, victims[:WATCHED_AT_ONCE], left)
    return _unclaimed(children, traces, running)


def kill_late(children: Children, state: str, running: Collection[Traces]) -> None:
    """Kill strays of attempts that have ended: a process in the middle of its exec has no mark for a moment, and the
    sweep that met it then could not know it."""
    for victim in _victims(children, Traces(state, "", tag=0, began=0), running):
        processes.kill(victim)


def kill_everything(keep: Collection[str] = (), patience: float = KILL_SECONDS) -> None:
    """Kill all that lives below this process, and reap it. Blocking: nothing else is left to do."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        below = processes.descendants(os.getpid())
        for pid, started in below.items():
            if not (keep and processes.name_of(pid) in keep):
                processes.kill(Seen(pid, started))
        if not _reap_one(deadline, keep):
            return


def _note(child: Child, traces: Traces) -> None:
    if not child.ended.done():
        traces.noted.update(processes.descendants(child.pid))


def _strays(children: Children) -> list[int]:
    return [pid for pid in processes.own_children() if pid not in children.known]


def _victims(children: Children, traces: Traces, running: Collection[Traces]) -> list[Seen]:
    children.reap_strays()
    found = dict(traces.noted)
    for pid in _strays(children):
        state = processes.stat(pid)
        if state is None or state.zombie:
            continue
        if owns(_signs(pid, state), traces, running):
            found[pid] = state.started
            found.update(processes.descendants(pid))
    _spare(found, children, traces)
    traces.noted = {pid: started for pid, started in found.items() if processes.is_alive(Seen(pid, started))}
    return [Seen(pid, started) for pid, started in traces.noted.items()]


def _signs(pid: int, state: processes.Stat) -> Signs:
    return Signs(tags.of(pid), processes.environment_of(pid, _MARK), state.session, state.started)


def _spare(found: dict[int, int], children: Children, traces: Traces) -> None:
    """What the settings want left."""
    for pid in list(found) if children.keep else ():
        name = processes.name_of(pid)
        if name in children.keep:
            traces.kept.add(f"{name} ({pid})")
            del found[pid]


def _unclaimed(children: Children, traces: Traces, running: Collection[Traces]) -> int:
    """How many are left that may be its own, or another's who runs: nothing says whose they are."""
    count = 0
    for pid in _strays(children):
        state = processes.stat(pid)
        if state is None or state.zombie or state.started + 1 < traces.began or processes.name_of(pid) in children.keep:
            continue
        count += _claimed(_signs(pid, state), traces, running) is None
    if count:
        log.warning("%d processes that %s may have started are left until nobody else can have", count, traces.attempt)
    return count


async def _ends_within(children: Children, child: Child, seconds: float) -> bool:
    await children.wait([child.ended], seconds)
    return child.ended.done()


async def _gone(children: Children, victims: list[Seen], seconds: float) -> None:
    """Return when these have died, or the time is up."""
    ends = []
    for victim in victims:
        with contextlib.suppress(OSError):
            ends.append(_end_of(children.loop, os.pidfd_open(victim.pid)))
    if ends:
        await asyncio.wait(ends, timeout=seconds)
    else:
        # Out of descriptors: nobody says when they are gone, so look again in the loop's next turn.
        await asyncio.sleep(0)
    for end in ends:
        end.cancel()


def _end_of(loop: asyncio.AbstractEventLoop, handle: int) -> asyncio.Future[None]:
    """Done when the process behind this pidfd has died; takes the handle over."""
    end: asyncio.Future[None] = loop.create_future()

    def forget(_: asyncio.Future[None]) -> None:
        loop.remove_reader(handle)
        os.close(handle)

    def died() -> None:
        if not end.done():
            end.set_result(None)

    loop.add_reader(handle, died)
    end.add_done_callback(forget)
    return end


def _reap_one(deadline: float, keep: Collection[str]) -> bool:
    """Wait for one child to die and reap it. False when there is none."""
    pids = [pid for pid in processes.own_children() if not (keep and processes.name_of(pid) in keep)]
    poll, handles = select.poll(), []
    for pid in pids[:WATCHED_AT_ONCE]:
        with contextlib.suppress(OSError):
            handles.append(os.pidfd_open(pid))
            poll.register(handles[-1], select.POLLIN)
    if handles:  # poll() of nothing would wait out the time
        poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
    for handle in handles:
        os.close(handle)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return bool(pids)
    return False
