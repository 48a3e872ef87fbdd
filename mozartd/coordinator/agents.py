"""Which of those who ask are agents, and what those may not: change anything.

The kernel says who asks (SO_PEERCRED) and from whom that descends (/proc): what is below a worker, whose subreaper keeps it
there, is an agent's. A client that says of itself that an agent started it is believed, too. Asked once for each connection,
by `clients`, before the first request that changes something.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping

from ipc.connection import Peer
from ipc.errors import MozartError
from ipc.frames import Frame
from mozartd.coordinator.model import Attempt
from mozartd.processes import Process, read_process

#: What changes nothing.
READING = frozenset({
    "status", "list", "logs.follow", "events.follow", "prompt", "wait", "limits", "group.list", "daemon.status",
    "daemon.environment",
})  # fmt: skip
#: Processes between an agent's and its worker, at most: a table that is read while it changes may hold a loop.
DEEPEST = 1000
_WORDS = {
    "submit": "run", "priority": "change the priority of", "limits.clear": "clear limits", "hold": "hold a backend",
    "group.set": "change a group", "gc": "remove logs", "daemon.drain": "stop the daemon",
}  # fmt: skip
#: Refusals that are remembered, so that each is told once.
REMEMBERED = 1000
_ATTEMPT = re.compile(r"[a-z0-9-]{1,80}:[0-9]{1,9}:[0-9]{1,9}")
_TICK = 1 / os.sysconf("SC_CLK_TCK")


def changes(frame: Frame) -> bool:
    params = frame.get("params")
    is_dry = frame.get("method") == "gc" and isinstance(params, dict) and params.get("dry_run") is True
    return not is_dry and frame.get("method") not in READING


def boot_time() -> float:
    """Seconds since the machine started, as /proc counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def lineage(pid: int, read: Callable[[int], Process | None] = read_process) -> list[Process]:
    """The process and those above it; empty when it has ended. One whose parent ends meanwhile gets another one: look again."""
    for _ in range(3):
        found: list[Process] = []
        at = read(pid)
        while at is not None and len(found) < DEEPEST:
            found.append(at)
            if at.parent == 0:
                return found
            at = read(at.parent)
        if not found or len(found) == DEEPEST:
            break
    return found


def whose(line: Iterable[Process], workers: Mapping[int, str], running: Iterable[Attempt], said: str) -> str | None:
    """The attempt that a process of this lineage is of; '' when nobody can tell which, None when it is of none. `workers`: pid
    → name; `said`: what its client says, for where one worker runs many."""
    below = 0
    for process in line:
        if process.pid in workers and below:
            there = [one for one in running if one.worker == workers[process.pid]]
            led = [one.id for one in there if one.facts.get("agent_pid") == below]
            named = [one.id for one in there if one.id == said]
            return next(iter([*led, *named, *(one.id for one in there if len(there) == 1)]), "")
        below = process.pid
    return None


class Agents:
    """`workers` and `running` give those of the moment; `tell` puts a refusal among the events."""

    def __init__(
        self,
        state: str,
        workers: Callable[[], Mapping[int, str]],
        running: Callable[[], Iterable[Attempt]],
        tell: Callable[[str, str, str], None],
    ) -> None:
        self._state = state
        self._workers = workers
        self._running = running
        self._tell = tell
        self._told: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return f"<Agents, {len(self._told)} refusals told>"

    def behind(self, peer: Peer, made_at: float, hello: Frame) -> str | None:
        """The attempt behind a connection that was made then: as `whose`. Raises MozartError when nobody can tell any more."""
        said = self._said(hello)
        # Outside our pid namespace there is no agent of ours.
        if peer.pid == 0 or peer.pid == os.getpid():
            return said or None
        line = lineage(peer.pid)
        if not line or line[0].started * _TICK > made_at + _TICK:
            sentence = "cannot tell who asks: the process that connected has ended"
            raise MozartError("E502", sentence, "ask from a process that waits for the answer")
        found = whose(line, self._workers(), self._running(), said)
        return said or None if found is None else found

    def _said(self, hello: Frame) -> str:
        attempt = hello.get("attempt")
        if hello.get("state") != self._state or not isinstance(attempt, str):
            return ""
        return attempt if _ATTEMPT.fullmatch(attempt) else ""

    def refuse(self, attempt: str, frame: Frame) -> None:
        """Raises MozartError, and says in the events that an agent tried, once for each thing that it tries."""
        method = str(frame.get("method"))[:40]
        if (attempt, method) not in self._told:
            self._told = set() if len(self._told) >= REMEMBERED else self._told
            self._told.add((attempt, method))
            self._tell(attempt, method, _of(frame))
        what = f"{_WORDS.get(method, method)} {_of(frame)}".strip()
        sentence = f"cannot {what} for {name_of(attempt)}: agents may look, and change nothing"
        raise MozartError("agent", sentence, _hint(method))


def _of(frame: Frame) -> str:
    """The job or score that it is about."""
    params = frame.get("params")
    found = (params.get("job") or params.get("path") or "") if isinstance(params, dict) else ""
    return found[:200] if isinstance(found, str) else ""


def name_of(attempt: str) -> str:
    """`the agent of hello-12:3`."""
    return f"the agent of {attempt.rpartition(':')[0]}" if attempt else "an agent"


def _hint(method: str) -> str:
    if method in ("submit", "modify"):
        return "jobs that submit jobs (`nesting`) are not available yet; `mozart plan` shows what a score would do"
    return "a person can do it, outside of what agents run"
