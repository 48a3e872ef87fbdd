"""The arbiter: takes the lock, binds the sockets, forks the coordinator and the workers, reaps and restarts them.

Owns which processes exist and nothing else: no event loop, no thread, no database, no shared fact, no byte of user
data, so that nothing a child does can take it along. Signals are blocked and waited for; between them it sleeps until
the nearest deadline. What to do next is decided in `converge`; `mozartd.main` calls `Supervisor.run` and hands in
what children run.
"""

from __future__ import annotations

import functools
import gc
import logging
import math
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ipc.errors import MozartError
from ipc.paths import Paths
from ipc.setup import (
    DRAIN_SIGNAL,
    EXIT_CANNOT_BOOT,
    EXIT_STOP_ALL,
    NOTE_SIGNAL,
    CoordinatorSetup,
    Inherited,
    WorkerSetup,
    read_note,
    write_note,
)
from mozartd import daemon_log
from mozartd.backoff import Tally, after_death, is_hopeless
from mozartd.converge import (
    COORDINATOR,
    Abort,
    Action,
    Child,
    Drain,
    Kill,
    Phase,
    Slot,
    Spawn,
    Stop,
    Wanted,
    converge,
)
from mozartd.liveness import Pulse, beat_seconds, new_liveness_file, read_mtime
from mozartd.lock import write_pid_file
from mozartd.notify import Notifier
from mozartd.orphans import Sweeper
from mozartd.readiness import Readiness
from mozartd.settings import Settings
from mozartd.sockets import listen_unix, remove_socket, share
from mozartd.spawn import EXIT_CRASHED, become_subreaper, describe_exit, fork_child, set_title

log = logging.getLogger("supervisor")

EXIT_DONE = 0
EXIT_GAVE_UP = 1

SIGNALS = frozenset(
    {
        signal.SIGCHLD,
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGHUP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)

#: Seconds that a stopped child gets beyond what it was promised, before it is killed.
STOP_MARGIN_SECONDS = 20.0


@dataclass(slots=True)
class Programs:
    """What the children run. Only `mozartd.main` knows these names."""

    coordinator: Callable[[CoordinatorSetup], int]
    worker: Callable[[WorkerSetup], int]


@dataclass(slots=True)
class Launch:
    """How this daemon was asked to run."""

    paths: Paths
    load_settings: Callable[[], Settings]
    log_path: str | None = None
    """The file that stderr is, when it is one."""
    started_by_client: bool = False
    on_ready: Callable[[], None] = field(default=lambda: None)
    """Called once, when the coordinator answers for the first time."""


class Supervisor:
    def __init__(self, launch: Launch, settings: Settings, programs: Programs) -> None:
        self._launch = launch
        self._paths = launch.paths
        self._settings = settings
        self._programs = programs
        self._notifier = Notifier()
        self._children: list[Child] = []
        self._tallies: dict[Slot, Tally] = {}
        self._wanted = Wanted(Phase.RUNNING, settings.workers)
        self._started_at = time.time()
        self._boot = f"{int(self._started_at * 1000):x}"
        self._incarnations = 0
        self._readiness = Readiness(self._fork_probe, self._paths.client_socket)
        self._sweeper = Sweeper(self._paths.state)
        self._exit_code = EXIT_DONE
        self._troubles: dict[Slot, str] = {}
        """Why a child that is wanted cannot be started."""

    # -- the loop

    def run(self) -> int:
        """Until the last child is gone. Returns the daemon's exit code."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        become_subreaper()
        set_title("mozartd")
        self._lifeline, self._lifeline_write = os.pipe()
        self._notes = os.memfd_create("mozart-notes", os.MFD_CLOEXEC)
        self._client_listener = listen_unix(self._paths.client_socket)
        self._worker_listener = listen_unix(self._paths.worker_socket)
        self._apply(self._settings)
        gc.collect()
        gc.freeze()
        log.info("started, state in %s, %d workers", self._paths.state, self._wanted.workers)
        # Agents of an earlier life that nobody had the time to stop.
        self._sweeper.ask(time.monotonic())
        try:
            self._loop()
        finally:
            remove_socket(self._paths.client_socket)
            remove_socket(self._paths.worker_socket)
        log.info("stopped")
        return self._exit_code

    def _loop(self) -> None:
        while True:
            self._reap()
            self._sweep()
            self._feel_pulses()
            plan = converge(self._wanted, self._children, self._tallies, time.monotonic())
            for action in plan.actions:
                self._act(action)
            if plan.is_over and self._sweeper.due_at is None:
                return
            if not plan.actions:
                self._probe()
                self._wait(plan.wake_at)

    def _wait(self, wake_at: float) -> None:
        """Sleep until a signal or the nearest deadline, then handle that signal."""
        now = time.monotonic()
        deadlines = [wake_at, self._sweeper.due_at, self._readiness.due_at() if self._is_probe_due() else None]
        if self._notifier.watchdog_seconds:
            deadlines.append(now + self._notifier.watchdog_seconds)
        timeout = min(deadline for deadline in deadlines if deadline is not None) - now
        received = signal.sigtimedwait(SIGNALS, min(max(0.0, timeout), 3600.0))
        self._notifier.alive()
        if received is not None:
            self._handle(signal.Signals(received.si_signo))
        if self._launch.log_path is not None:
            daemon_log.rotate(self._launch.log_path)

    def _handle(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self.stop(f"received {number.name}")
            case signal.SIGQUIT:
                self.kill(f"received {number.name}")
            case signal.SIGHUP:
                self.reload()
            case signal.SIGTTIN:
                self._wanted.workers += 1
                log.info("received SIGTTIN: %d workers now", self._wanted.workers)
            case signal.SIGTTOU:
                self._wanted.workers = max(1, self._wanted.workers - 1)
                self._note(Slot("worker", self._wanted.workers + 1), "")
                log.info("received SIGTTOU: %d workers now", self._wanted.workers)
            case _ if number == NOTE_SIGNAL:
                self._notifier.status(self._status())
            case signal.SIGUSR2:
                log.warning("received %s, which means nothing here", number.name)

    # -- what is wanted

    def stop(self, reason: str) -> None:
        """Workers first, then the coordinator. A second request does not ask any more."""
        if self._wanted.phase is not Phase.RUNNING:
            self.kill(f"{reason} while stopping")
            return
        log.info("stopping: %s", reason)
        self._wanted.phase = Phase.STOPPING
        # It spares the next start a wait; a full disk must not keep us from stopping.
        with suppress(OSError):
            write_pid_file(self._paths, is_stopping=True)
        self._notifier.stopping(reason)

    def kill(self, reason: str) -> None:
        log.warning("killing everything: %s", reason)
        self._wanted.phase = Phase.KILLING
        self._notifier.stopping(reason)

    def reload(self) -> None:
        """Read the settings again; replace the children that would run with others now."""
        self._notifier.reloading()
        try:
            settings = self._launch.load_settings()
        except MozartError as error:
            log.error("keeping the settings that are in force: %s", error.message)
            self._notifier.ready(f"reload failed: {error.message}")
            return
        changed = [name for name in Settings.model_fields if getattr(settings, name) != getattr(self._settings, name)]
        log.info("reloading: %s", f"{', '.join(changed)} changed" if changed else "nothing changed")
        if changed:
            self._wanted.generations["coordinator"] += 1
            self._readiness.lost()
        if set(changed) & set(Settings.WORKER_FIELDS):
            self._wanted.generations["worker"] += 1
        if "workers" in changed:
            for number in range(settings.workers, self._wanted.workers):
                self._note(Slot("worker", number + 1), "")
            self._wanted.workers = settings.workers
        self._apply(settings)
        if not changed:
            self._notifier.ready(self._status())

    def _apply(self, settings: Settings) -> None:
        self._settings = settings
        try:
            share(self._paths.client_socket, settings.socket_mode)
        except OSError as error:
            log.error("cannot set the mode of %s: %s", self._paths.client_socket, error.strerror)
        self._wanted.liveness_seconds = settings.liveness_seconds
        self._wanted.stop_patience["worker"] = settings.stop_grace_seconds + STOP_MARGIN_SECONDS
        self._wanted.stop_patience["coordinator"] = STOP_MARGIN_SECONDS
        logging.getLogger().setLevel(settings.log_level.upper())

    # -- acting

    def _act(self, action: Action) -> None:
        match action:
            case Spawn(slot):
                self._spawn(slot)
            case Drain(child):
                child.is_draining = True
                self._signal(child, DRAIN_SIGNAL, "no longer wanted")
            case Stop(child):
                child.stop_sent = time.monotonic()
                self._signal(child, signal.SIGTERM, "stopping")
            case Abort(child):
                child.abort_sent = time.monotonic()
                log.error("%s (pid %d) hangs: nothing from its loop for too long", child.slot, child.pid)
                self._signal(child, signal.SIGABRT, "hangs")
            case Kill(child, reason):
                child.is_killed = True
                log.warning("killing %s (pid %d): %s", child.slot, child.pid, reason)
                self._signal(child, signal.SIGKILL, reason)

    def _signal(self, child: Child, number: signal.Signals, reason: str) -> None:
        # The child is ours and not reaped yet, so the pid cannot be anybody else's.
        log.debug("%s to %s (pid %d): %s", number.name, child.slot, child.pid, reason)
        with suppress(ProcessLookupError):
            os.kill(child.pid, number)

    def _spawn(self, slot: Slot) -> None:
        self._incarnations += 1
        name = f"{self._boot}-{slot.number}-{self._incarnations}"
        now = time.monotonic()
        liveness = -1
        try:
            liveness = new_liveness_file()
            pid = self._fork(slot, name, liveness)
        except OSError as error:
            if liveness >= 0:
                os.close(liveness)
            # Out of processes, descriptors or memory: the same back-off as for a child that dies at once.
            log.error("cannot start %s: %s", slot, error.strerror)
            self._tallies[slot] = after_death(self._tally(slot), 0.0, EXIT_CRASHED, now)
            self._note(slot, f"cannot start {slot}: {error.strerror}")
            return
        generation = self._wanted.generations[slot.role]
        self._children.append(Child(slot, name, pid, now, generation, liveness, Pulse(read_mtime(liveness), now)))
        log.info("started %s (pid %d)", slot, pid)
        self._note(slot, "")

    def _note(self, slot: Slot, trouble: str) -> None:
        """Tell systemd and the coordinator."""
        if self._troubles.get(slot, "") == trouble:
            return
        self._troubles[slot] = trouble
        write_note(self._notes, "; ".join(filter(None, self._troubles.values())))
        self._notifier.status(self._status())

    def _tally(self, slot: Slot) -> Tally:
        return self._tallies.get(slot, Tally())

    def _fork(self, slot: Slot, name: str, liveness: int) -> int:
        inherited = Inherited(self._lifeline, liveness, beat_seconds(self._settings.liveness_seconds))
        main = self._coordinator(inherited) if slot == COORDINATOR else self._worker(slot, name, inherited)
        close = [self._lifeline_write, *(child.liveness for child in self._children)]
        if slot != COORDINATOR:
            close += [self._client_listener.fileno(), self._worker_listener.fileno()]
        return fork_child(main, str(slot), self._settings.log_level, self._launch.log_path, close)

    def _coordinator(self, inherited: Inherited) -> Callable[[], int]:
        setup = CoordinatorSetup(
            inherited=inherited,
            paths=self._paths,
            settings=self._settings,
            client_listener=self._client_listener,
            worker_listener=self._worker_listener,
            supervisor_pid=os.getpid(),
            started_at=self._started_at,
            notes=self._notes,
            boot=self._boot,
            workers={child.name: child.pid for child in self._children if child.slot.role == "worker"},
            restarts=self._tally(COORDINATOR).deaths,
            started_by_client=self._launch.started_by_client,
        )
        return functools.partial(self._programs.coordinator, setup)

    def _worker(self, slot: Slot, name: str, inherited: Inherited) -> Callable[[], int]:
        setup = WorkerSetup(
            name=name,
            number=slot.number,
            restarts=self._tally(slot).deaths,
            inherited=inherited,
            paths=self._paths,
            slots=self._settings.worker_slots,
            stop_grace_seconds=self._settings.stop_grace_seconds,
            mask_patterns=self._settings.mask_patterns,
        )
        return functools.partial(self._programs.worker, setup)

    # -- what happened

    def _reap(self) -> None:
        """Collect every dead child. What is neither a child of ours nor the probe is an orphan that came home."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = next((child for child in self._children if child.pid == pid), None)
            if child is not None:
                self._bury(child, status)
            elif pid == self._readiness.pid:
                self._probed(status)

    def _bury(self, child: Child, status: int) -> None:
        now = time.monotonic()
        lived = now - child.born
        self._children.remove(child)
        os.close(child.liveness)
        if child.slot == COORDINATOR:
            self._readiness.lost()
        else:
            self._sweeper.ask(now)
        exit_code = os.waitstatus_to_exitcode(status)
        if exit_code == 0 and (child.stop_sent is not None or child.is_draining):
            log.info("%s (pid %d) stopped after %.1f s", child.slot, child.pid, lived)
            return
        log.warning("%s (pid %d) %s after %.1f s", child.slot, child.pid, describe_exit(status), lived)
        if exit_code == EXIT_STOP_ALL:
            if self._wanted.phase is Phase.RUNNING:
                self.stop("nothing left to do")
            return
        tally = self._tallies[child.slot] = after_death(self._tally(child.slot), lived, exit_code, now)
        if is_hopeless(tally, was_ready=self._readiness.was_ready):
            self._give_up(child.slot, tally, exit_code)

    def _give_up(self, slot: Slot, tally: Tally, exit_code: int) -> None:
        self._tallies[slot] = replace(tally, not_before=math.inf)
        if self._wanted.phase is Phase.RUNNING:
            why = "says that it cannot boot" if exit_code == EXIT_CANNOT_BOOT else "does not stay alive"
            self._exit_code = EXIT_GAVE_UP
            self.stop(f"{slot} {why}")

    def _sweep(self) -> None:
        ours = {child.pid for child in self._children}
        if self._readiness.pid is not None:
            ours.add(self._readiness.pid)
        killed = self._sweeper.sweep(ours, time.monotonic())
        if killed:
            log.warning("killed %d processes that an earlier worker left behind", killed)

    def _feel_pulses(self) -> None:
        now = time.monotonic()
        for child in self._children:
            child.pulse.look(read_mtime(child.liveness), now, self._wanted.liveness_seconds)

    # -- readiness

    def _probe(self) -> None:
        if self._is_probe_due():
            self._readiness.probe(time.monotonic())

    def _is_probe_due(self) -> bool:
        """A coordinator that is being replaced may still answer; that is not the readiness we wait for."""
        if self._wanted.phase is not Phase.RUNNING:
            return False
        generation = self._wanted.generations["coordinator"]
        return any(child.slot == COORDINATOR and child.generation == generation for child in self._children)

    def _fork_probe(self, main: Callable[[], int]) -> int:
        close = [self._lifeline_write, self._client_listener.fileno(), self._worker_listener.fileno()]
        close += [child.liveness for child in self._children]
        return fork_child(main, "probe", "error", self._launch.log_path, close)

    def _probed(self, status: int) -> None:
        is_first = not self._readiness.was_ready
        if not self._readiness.reaped(status, time.monotonic()) or not self._is_probe_due():
            return
        log.info("ready")
        self._notifier.ready(self._status())
        if is_first:
            self._launch.on_ready()

    def _status(self) -> str:
        workers = sum(child.slot.role == "worker" for child in self._children)
        notes = [read_note(child.liveness) for child in self._children if child.slot == COORDINATOR]
        reasons = "; ".join(filter(None, [*self._troubles.values(), *notes]))
        return f"{self._wanted.phase}, {workers} workers" + (f", degraded: {reasons}" if reasons else "")
