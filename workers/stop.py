"""Ending what an attempt started: its group by signals and patience, everything that escaped by force.

Agents run their tools in sessions of their own, so killing the group is never enough. What escaped is found three ways:
descendants noted before a signal is sent; orphans that came home (the worker is their subreaper) and carry the
attempt's mark in their environment; orphans of a session that the attempt led. The same sweep follows a normal end.
Called by `agent` and `commands`; by `main` with every beat (`kill_late`) and at its end (`kill_everything`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from workers import processes
from workers.processes import Seen
from workers.spawn import Child, Children

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
    sessions: set[int] = field(default_factory=set)
    """Of the agent and of the commands that ran for this attempt."""
    noted: dict[int, int] = field(default_factory=dict)
    """pid → start time of descendants seen before a signal was sent."""


def owns(mark: tuple[bytes | None, ...], session: int, traces: Traces, running: Collection[Traces]) -> bool:
    """Whether a stray with this mark and session is ours to kill, while `running` (with us or not) also run."""
    state, attempt = mark
    if state is not None and os.fsdecode(state) == traces.state and attempt is not None:
        name = os.fsdecode(attempt)
        # A mark of an attempt that has ended: nobody else will come for it.
        return name == traces.attempt or all(other.attempt != name for other in running)
    if session in traces.sessions:
        return True
    # Nothing says whose it is: ours when nobody else can have lost it.
    return all(other is traces for other in running)


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
            return len(victims)
        await _gone(children, victims[:WATCHED_AT_ONCE], left)
    return 0


def kill_late(children: Children, state: str, running: Collection[Traces]) -> None:
    """Kill strays of attempts that have ended: a process in the middle of its exec has no mark for a moment, and the
    sweep that met it then could not know it."""
    for victim in _victims(children, Traces(state, ""), running):
        processes.kill(victim)


def kill_everything(patience: float = KILL_SECONDS) -> None:
    """Kill all that lives below this process, and reap it. Blocking: nothing else is left to do."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        below = processes.descendants(os.getpid())
        for pid, started in below.items():
            processes.kill(Seen(pid, started))
        if not _reap_one(deadline):
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
        if owns(processes.environment_of(pid, _MARK), state.session, traces, running):
            found[pid] = state.started
            found.update(processes.descendants(pid))
    traces.noted = {pid: started for pid, started in found.items() if processes.is_alive(Seen(pid, started))}
    return [Seen(pid, started) for pid, started in traces.noted.items()]


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


def _reap_one(deadline: float) -> bool:
    """Wait for one child to die and reap it. False when there is none."""
    pids = processes.own_children()
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
        return True
    return False
