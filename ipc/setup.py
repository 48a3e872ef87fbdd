"""What the supervisor hands to the processes it forks, and what their exit codes tell it.

Inherited through the fork, never sent. `mozartd.supervisor` fills it in; `mozartd.coordinator.main.run` and
`workers.main.run` take it and return an exit code.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ipc.paths import Paths

#: The child did what it was told to the end.
EXIT_OK = 0
#: The child cannot boot (a bad database, say): respawning it at once would fail again.
EXIT_CANNOT_BOOT = 3
#: The coordinator has been without work for `idle_exit_seconds`, or has drained: stop everything.
EXIT_STOP_ALL = 10
#: The supervisor died (its lifeline closed) and the child cleaned up behind itself.
EXIT_ORPHANED = 11

#: Supervisor → worker: finish what runs, take nothing new, exit 0. How a worker is replaced at a reload, or one too many ends.
DRAIN_SIGNAL = signal.SIGUSR1

#: Coordinator → supervisor: read the note that I left you.
NOTE_SIGNAL = signal.SIGUSR1
#: Bytes of a note, at most.
NOTE_BYTES = 1000


@dataclass(slots=True)
class Inherited:
    """File descriptors every child gets."""

    lifeline: int
    """Read end of a pipe that only the supervisor holds open for writing: EOF = it died."""
    liveness: int
    """An unlinked file; the child sets its mtime every `beat_seconds` from its loop. Stale = hung = killed."""
    beat_seconds: float
    slots: int = -1
    """Shared memory in which each process says what it is at: `ipc.blame`."""


@dataclass(slots=True)
class WorkerSetup:
    name: str
    """`<boot>-<number>-<incarnation>`, unique in the state directory."""
    number: int
    restarts: int
    inherited: Inherited
    paths: Paths
    slots: int
    stop_grace_seconds: float
    """On SIGTERM: how long running agents may go on before they are stopped and reported as interrupted."""
    mask_patterns: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    """Names of programs that are left running when the attempt that started them has ended."""


@dataclass(slots=True)
class CoordinatorSetup:
    inherited: Inherited
    paths: Paths
    settings: Any
    """A `mozartd.settings.Settings`."""
    client_listener: socket.socket
    worker_listener: socket.socket
    supervisor_pid: int
    started_at: float
    """When the supervisor started, seconds since the epoch."""
    notes: int
    """An unlinked file with what the supervisor finds wrong: a note."""
    boot: str
    """Names this life of the supervisor; workers' names begin with it."""
    workers: dict[str, int] = field(default_factory=dict)
    """Workers alive when this coordinator was forked: name → pid. They connect, or die; until then their attempts stand."""
    restarts: int = 0
    deaths: int = -1
    """An unlinked file: which jobs earlier coordinators died over, `ipc.blame.read_deaths`."""
    started_by_client: bool = False
    """`mozart run` started this daemon: it exits after `idle_exit_seconds` without work."""


def write_note(descriptor: int, text: str) -> None:
    """Say in an unlinked file what is wrong; '' when nothing is. A note nobody can keep is not worth a failure."""
    with suppress(OSError):
        data = text.encode()[:NOTE_BYTES]
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)


def read_note(descriptor: int) -> str:
    return os.pread(descriptor, NOTE_BYTES, 0).decode(errors="replace")
