"""A child's birth: its name, what it is given, what it must not keep open.

Knows what the children run and which descriptors are the supervisor's alone; decides nothing. Called by the supervisor
when `converge` wants somebody started, and for its short-lived helpers, the readiness probe and the trial of an upgrade.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ipc import blame
from ipc.setup import CoordinatorSetup, Inherited, WorkerSetup
from mozartd.converge import COORDINATOR, Child, Slot
from mozartd.held import Held
from mozartd.launch import Launch
from mozartd.liveness import Pulse, beat_seconds, new_liveness_file, read_mtime
from mozartd.settings import Settings
from mozartd.spawn import fork_child

#: Seconds that a stopped child gets beyond what it was promised, before it is killed.
STOP_MARGIN_SECONDS = 20.0


@dataclass(slots=True)
class Programs:
    """What the children run. Only `mozartd.main` knows these names."""

    coordinator: Callable[[CoordinatorSetup], int]
    worker: Callable[[WorkerSetup], int]


@dataclass(slots=True)
class Births:
    """`boot` names the daemon's life, over every upgrade; `incarnations` counts its children."""

    launch: Launch
    programs: Programs
    held: Held
    boot: str
    started_at: float
    incarnations: int = 0
    notes: int = field(default_factory=lambda: os.memfd_create("mozart-notes", os.MFD_CLOEXEC))
    """What the supervisor finds wrong, for the coordinator to read."""
    slots: int = field(default_factory=blame.new_slots)
    """What each child is at."""
    deaths: int = field(default_factory=lambda: os.memfd_create("mozart-deaths", os.MFD_CLOEXEC))
    """Which jobs coordinators died over."""

    @classmethod
    def begin(cls, launch: Launch, programs: Programs, held: Held) -> Births:
        """Of a new daemon."""
        now = time.time()
        return cls(launch, programs, held, f"{int(now * 1000):x}", now)

    def child(
        self, slot: Slot, generation: int, settings: Settings, restarts: int, siblings: Sequence[Child], now: float
    ) -> Child:
        """A new child. Raises OSError when the machine has no room for one."""
        self.incarnations += 1
        name = f"{self.boot}-{slot.number}-{self.incarnations}"
        liveness = new_liveness_file()
        inherited = Inherited(self.held.lifeline, liveness, beat_seconds(settings.liveness_seconds), self.slots)
        if slot == COORDINATOR:
            main, patience = self._coordinator(inherited, settings, restarts, siblings), 0.0
            close: list[int] = []
        else:
            main, patience = self._worker(slot, name, inherited, settings, restarts), settings.stop_grace_seconds
            close = self._listeners()
        close += [self.held.lifeline_write, *(child.liveness for child in siblings)]
        try:
            pid = fork_child(main, str(slot), settings.log_level, self.launch.log_path, close)
        except OSError:
            os.close(liveness)
            raise
        pulse = Pulse(read_mtime(liveness), now)
        return Child(
            slot, name, pid, now, generation, liveness, pulse, settings.liveness_seconds, patience + STOP_MARGIN_SECONDS
        )

    def helper(self, title: str, main: Callable[[], int], siblings: Sequence[Child]) -> int:
        """Pid of a process that is nobody's successor and soon gone. Raises OSError."""
        close = [self.held.lifeline_write, *self._listeners(), *(child.liveness for child in siblings)]
        return fork_child(main, title, "error", self.launch.log_path, close)

    def _listeners(self) -> list[int]:
        return [self.held.client_listener.fileno(), self.held.worker_listener.fileno()]

    def _coordinator(
        self, inherited: Inherited, settings: Settings, restarts: int, siblings: Sequence[Child]
    ) -> Callable[[], int]:
        setup = CoordinatorSetup(
            inherited=inherited,
            paths=self.launch.paths,
            settings=settings,
            client_listener=self.held.client_listener,
            worker_listener=self.held.worker_listener,
            supervisor_pid=os.getpid(),
            started_at=self.started_at,
            notes=self.notes,
            deaths=self.deaths,
            boot=self.boot,
            workers={child.name: child.pid for child in siblings if child.slot.role == "worker"},
            restarts=restarts,
            started_by_client=self.launch.started_by_client,
        )
        return functools.partial(self.programs.coordinator, setup)

    def _worker(
        self, slot: Slot, name: str, inherited: Inherited, settings: Settings, restarts: int
    ) -> Callable[[], int]:
        setup = WorkerSetup(
            name=name,
            number=slot.number,
            restarts=restarts,
            inherited=inherited,
            paths=self.launch.paths,
            slots=settings.worker_slots,
            stop_grace_seconds=settings.stop_grace_seconds,
            mask_patterns=settings.mask_patterns,
            keep=settings.keep,
        )
        return functools.partial(self.programs.worker, setup)
