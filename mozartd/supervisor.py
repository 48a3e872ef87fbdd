"""The arbiter: takes the lock, binds the sockets, forks the coordinator and the workers, reaps and restarts them.

Owns which processes exist and nothing else: no event loop, no thread, no database, no shared fact, no byte of user
data, so that nothing a child does can take it along. Signals are blocked and waited for; between them it sleeps until
the nearest deadline. What to do next is decided in `converge`; `mozartd.main` calls `Supervisor.run` and hands in
what children run.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from ipc import VERSION, blame
from ipc.awake import Awake
from ipc.errors import MozartError
from ipc.setup import EXIT_CANNOT_BOOT, EXIT_STOP_ALL, NOTE_SIGNAL, read_note, write_note
from mozartd import act, daemon_log, handover, places, upgrade
from mozartd.announce import Announcer
from mozartd.backoff import Tally, after_death, is_hopeless
from mozartd.births import Births
from mozartd.changes import InForce, Needs, is_replaced
from mozartd.converge import COORDINATOR, Child, Phase, Slot, Spawn, Wanted, converge
from mozartd.handover import Handover
from mozartd.launch import Launch
from mozartd.liveness import read_mtime
from mozartd.lock import write_pid_file
from mozartd.orphans import BORN_WITH, Sweeper
from mozartd.processes import is_stopped
from mozartd.readiness import Readiness
from mozartd.settings import Settings
from mozartd.signals import Waiter
from mozartd.sockets import remove_socket, share
from mozartd.spawn import EXIT_CRASHED, become_subreaper, describe_exit, set_title

log = logging.getLogger("supervisor")

EXIT_DONE = 0
EXIT_GAVE_UP = 1

#: Until it looks up in any case.
LONGEST_SLEEP_SECONDS = 3600.0
#: From a try to put back what was removed to the next.
PUT_BACK_AGAIN_SECONDS = 5.0

#: Where troubles stand that are no child's.
_PLACES, _DATABASE = Slot("places"), Slot("database")

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
        places.SIGNAL,
    }
)


class Supervisor:
    def __init__(self, launch: Launch, settings: Settings, births: Births, left: Handover | None = None) -> None:
        """`left`: what the image before us left, whose children live."""
        self._launch = launch
        self._paths = launch.paths
        self._births = births
        self._in_force = InForce(settings, launch)
        self._announcer = Announcer(self._paths)
        self._children: list[Child] = []
        self._tallies: dict[Slot, Tally] = {}
        self._wanted = Wanted(Phase.RUNNING, settings.workers)
        self._readiness = Readiness(partial(self._help, "probe"), self._paths.client_socket)
        self._trial = upgrade.Trial(launch.command, partial(self._help, "trial"))
        self._sweeper = Sweeper(self._paths.state)
        self._exit_code = EXIT_DONE
        self._awake = Awake()
        self._waiter = Waiter(SIGNALS)
        self._troubles: dict[Slot, str] = {}
        """Why a child that is wanted cannot be started, or does not go on."""
        self._stopped: dict[int, int] = {}
        """Pids of workers that somebody stopped, and their last beat."""
        if left is not None:
            self._adopt(left)

    # -- the loop

    def run(self) -> int:
        """Until the last child is gone. Returns the daemon's exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        # A script's background job, or nohup, has some ignored; agents would inherit that.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        become_subreaper()
        set_title("mozartd")
        self._places = places.Places(self._paths, self._births.held)
        self._apply()
        gc.collect()
        gc.freeze()
        log.info("started, state in %s, %d workers", self._paths.state, self._wanted.workers)
        # Agents of an earlier life that nobody had the time to stop.
        self._sweeper.ask(self._awake.now())
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
            self._look_for_what_was_removed()
            plan = converge(self._wanted, self._children, self._tallies, self._awake.now())
            for action in plan.actions:
                if isinstance(action, Spawn):
                    self._spawn(action.slot)
                else:
                    act.tell(action, self._awake.now())
            if plan.is_over and self._sweeper.due_at is None:
                return
            if not plan.actions:
                self._probe()
                if self._readiness.is_ready:
                    self._announcer.ready(self._status())
                self._wait(plan.wake_at)

    def _wait(self, wake_at: float) -> None:
        """Sleep until a signal or the nearest deadline, then handle that signal."""
        now, notifier = self._awake.now(), self._announcer.notifier
        deadlines = [wake_at, self._sweeper.due_at, self._trial.due_at, self._places.due_at]
        deadlines.append(self._readiness.due_at() if self._is_probe_due() else None)
        if notifier.watchdog_seconds:
            deadlines.append(now + notifier.watchdog_seconds)
        timeout = min(deadline for deadline in deadlines if deadline is not None) - now
        timeout = min(max(0.0, timeout), LONGEST_SLEEP_SECONDS)
        self._awake.rest(timeout)
        received = self._waiter.wait(timeout)
        now = self._woken()
        notifier.alive()
        if received is not None:
            self._handle(received)
        if self._trial.due_at is not None and now >= self._trial.due_at:
            self._trial.give_up()
        if self._launch.log_path is not None:
            daemon_log.rotate(self._launch.log_path)

    def _woken(self) -> float:
        """The time now. While we were stopped or frozen our children may have been, too: that counts for nobody."""
        lost = self._awake.lost
        now = self._awake.away() if self._waiter.was_stopped else self._awake.now()
        if self._awake.lost - lost > 1:
            log.warning("was stopped or frozen for %.0f s, which do not count", self._awake.lost - lost)
        return now

    def _handle(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self.stop(f"received {number.name}")
            case signal.SIGQUIT:
                self.kill(f"received {number.name}")
            case signal.SIGHUP:
                self._put_back()
                self.reload()
            case signal.SIGTTIN:
                self._wanted.workers += 1
                log.info("received SIGTTIN: %d workers now", self._wanted.workers)
            case signal.SIGTTOU:
                self._wanted.workers = max(1, self._wanted.workers - 1)
                self._note(Slot("worker", self._wanted.workers + 1), "")
                log.info("received SIGTTOU: %d workers now", self._wanted.workers)
            case signal.SIGUSR2:
                self.upgrade()
            case _ if number == NOTE_SIGNAL:
                self._announcer.notifier.status(self._status())

    # -- what is wanted

    def stop(self, reason: str) -> None:
        """Workers first, then the coordinator. A second request does not ask any more."""
        if self._wanted.phase is not Phase.RUNNING:
            self.kill(f"{reason} while stopping")
            return
        log.info("stopping: %s", reason)
        self._wanted.phase = Phase.STOPPING
        self._trial.give_up()
        # It spares the next start a wait; a full disk must not keep us from stopping.
        with suppress(OSError):
            write_pid_file(self._paths, is_stopping=True)
        self._announcer.stopping(reason)

    def kill(self, reason: str) -> None:
        log.warning("killing everything: %s", reason)
        self._wanted.phase = Phase.KILLING
        self._trial.give_up()
        self._announcer.stopping(reason)

    def reload(self) -> None:
        """Read the settings again; replace the children that would run with others now."""
        self._announcer.notifier.reloading()
        try:
            needs, overruled = self._in_force.reload()
        except MozartError as error:
            log.error("keeping the current settings: %s", error.message)
            self._announcer.refuse("reload", error, self._status())
            return
        self._changed(needs)
        answer = {"changed": needs, "overruled": overruled, "warnings": self._in_force.warnings, "version": VERSION}
        self._announcer.promise("reload", answer)

    # -- what somebody removed under us

    def _look_for_what_was_removed(self) -> None:
        if self._wanted.phase is not Phase.RUNNING:
            return
        if self._places.look(self._awake.now()):
            self._put_back()
        if self._readiness.was_ready:
            self._note(_DATABASE, self._without_database() if self._places.lost_database() else "")

    def _without_database(self) -> str:
        if place := self._places.moved_to():
            return f"{self._paths.state} was moved to {place}: mozartd stop, then start it with MOZART_HOME set to where it is"
        return f"{self._paths.database} was removed: what runs goes on, and its jobs will not be known after a stop"

    def _put_back(self) -> None:
        """Whoever listens at the old sockets has to do so at the new ones: a new coordinator."""
        try:
            missing = self._places.put_back() if self._places.missing() else []
        except (MozartError, OSError) as error:
            self._places.due_at = self._awake.now() + PUT_BACK_AGAIN_SECONDS
            self._note(_PLACES, f"cannot put back what was removed: {error}".partition("\n")[0])
            return
        self._note(_PLACES, "")
        if missing:
            log.warning("put back what was removed: %s", ", ".join(missing))
            self._apply()
            if missing != [self._paths.lock]:
                self._wanted.generations["coordinator"] += 1
                self._readiness.lost()

    def _changed(self, needs: Needs) -> None:
        """Other settings are in force. `converge` replaces whoever needs them."""
        for role in self._wanted.generations:
            self._wanted.generations[role] += is_replaced(role, needs.values())
        if is_replaced("coordinator", needs.values()):
            self._readiness.lost()
        if "workers" in needs:
            before, self._wanted.workers = self._wanted.workers, self._in_force.settings.workers
            for number in range(self._wanted.workers, before):
                self._note(Slot("worker", number + 1), "")
        self._apply()

    def _apply(self) -> None:
        settings = self._in_force.settings
        try:
            share(self._paths.client_socket, settings.socket_mode)
        except FileNotFoundError:
            pass  # Removed, and put back with its mode or not at all.
        except OSError as error:
            log.error("cannot set the mode of %s: %s", self._paths.client_socket, error.strerror)
        self._sweeper.keep = settings.keep
        logging.getLogger().setLevel(settings.log_level.upper())

    def _go_back(self, said: str) -> bool:
        """The coordinator does not start. If settings were reloaded, they must not be the end of a daemon that runs."""
        needs = self._in_force.go_back()
        if needs:
            message = f"cannot use the new settings: the coordinator does not start with them: {said}"
            refusal = MozartError("E301", message, "the previous settings are in force again")
            log.error("%s; %s", message, refusal.hint)
            self._announcer.refuse("reload", refusal, self._status())
            self._changed(needs)
        return bool(needs)

    # -- becoming what is installed now

    def upgrade(self) -> None:
        """Try what is installed; `_tried` goes on when that has ended."""
        problem = self._why_no_upgrade()
        if not problem and self._trial.pid is None:
            try:
                self._trial.start(self._handover(), self._awake.now())
                log.info("upgrading: trying what is installed (pid %d)", self._trial.pid)
            except OSError as error:
                problem = f"the new version cannot be tried: {error.strerror}"
        if problem:
            self._refuse_upgrade(problem)

    def _why_no_upgrade(self) -> str:
        if self._wanted.phase is not Phase.RUNNING:
            return "the daemon is stopping"
        return "" if self._readiness.was_ready else "the daemon is not ready yet"

    def _refuse_upgrade(self, problem: str) -> None:
        log.error("not upgraded: %s", problem)
        refusal = MozartError("E404", f"cannot upgrade: {problem}", "the daemon goes on as it was")
        self._announcer.refuse("upgrade", refusal, self._status())

    def _tried(self, status: int) -> None:
        problem = self._trial.reaped(status) or self._why_no_upgrade()
        if not problem:
            log.info("upgrading: executing what is installed")
            self._announcer.notifier.upgrading()
            born_with = ",".join(map(str, sorted(self._sweeper.born_with)))
            environment = {**os.environ, **self._announcer.notifier.environment, BORN_WITH: born_with}
            try:
                upgrade.become(self._launch.command, self._handover(), environment)
            except OSError as error:
                problem = f"cannot execute it: {error.strerror}"
                self._announcer.notifier.upgraded()
        self._refuse_upgrade(problem)

    def rehearse(self) -> None:
        """What the first turn would find due, and what would be left to the next image: nothing is done."""
        self._feel_pulses()
        converge(self._wanted, self._children, self._tallies, self._awake.now())
        handover.decode(self._handover().model_dump_json().encode())
        self._status()

    def _handover(self) -> Handover:
        configured = self._in_force.settings.workers
        children = [handover.on_real_clock(child, self._awake) for child in self._children]
        return handover.record(self._births, self._wanted.workers, configured, children, self._tallies)

    def _adopt(self, left: Handover) -> None:
        """Its children are ours; `converge` replaces them, because they are of no generation of ours."""
        now = self._awake.now()
        self._children = [handover.adopt_child(child, now) for child in left.children]
        self._sweeper.born_with.difference_update(child.pid for child in self._children)
        self._tallies = {Slot(one.role, one.number): Tally(deaths=one.deaths) for one in left.deaths}
        if self._wanted.workers == left.configured_workers:
            self._wanted.workers = left.workers
        self._readiness.was_ready = True
        self._announcer.notifier.upgraded()
        log.info("version %s took over from %s with %d children", VERSION, left.version, len(left.children))
        self._announcer.promise("upgrade", {"version": VERSION, "before": left.version})

    # -- acting

    def _spawn(self, slot: Slot) -> None:
        generation = self._wanted.generations[slot.role]
        tally = self._tally(slot)
        try:
            child = self._births.child(
                slot, generation, self._in_force.settings, tally.deaths, self._children, self._awake.now()
            )
        except OSError as error:
            # Out of processes, descriptors or memory: the same back-off as for a child that dies at once.
            log.error("cannot start %s: %s", slot, error.strerror)
            self._tallies[slot] = after_death(tally, 0.0, EXIT_CRASHED, self._awake.now())
            self._note(slot, f"cannot start {slot}: {error.strerror}")
            return
        self._children.append(child)
        log.info("started %s (pid %d)", slot, child.pid)
        self._note(slot, "")

    def _note(self, slot: Slot, trouble: str) -> None:
        """Tell systemd and the coordinator."""
        if self._troubles.get(slot, "") != trouble:
            self._troubles[slot] = trouble
            write_note(self._births.notes, "; ".join(filter(None, self._troubles.values())))
            self._announcer.notifier.status(self._status())

    def _tally(self, slot: Slot) -> Tally:
        return self._tallies.get(slot, Tally())

    # -- what happened

    def _reap(self) -> None:
        """Collect every dead child. What is neither a child of ours nor a helper is an orphan that came home."""
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
            elif pid == self._trial.pid:
                self._tried(status)
            else:
                self._sweeper.born_with.discard(pid)

    def _bury(self, child: Child, status: int) -> None:
        now = self._awake.now()
        lived = now - child.born
        said = read_note(child.liveness)
        self._children.remove(child)
        os.close(child.liveness)
        if self._stopped.pop(child.pid, None) is not None:
            self._note(child.slot, "")
        if child.slot == COORDINATOR:
            self._readiness.lost()
            self._announcer.lost()
            if self._wanted.phase is Phase.RUNNING and self._places.moved_to():
                # The next coordinator would begin an empty database, and end agents that it knows nothing of.
                self.stop(self._without_database())
            else:
                self._places.reopen_database()
        else:
            self._sweeper.ask(now)
        exit_code = os.waitstatus_to_exitcode(status)
        if exit_code == 0 and (child.stop_sent is not None or child.is_draining):
            log.info("%s (pid %d) stopped after %.1f s", child.slot, child.pid, lived)
            return
        log.warning("%s (pid %d) %s after %.1f s", child.slot, child.pid, describe_exit(status), lived)
        if child.slot == COORDINATOR and (job := blame.read(self._births.slots, blame.COORDINATOR)):
            log.warning("%s was at work on %s when it ended", child.slot, job)
            blame.count_death(self._births.deaths, job)
        if exit_code == EXIT_STOP_ALL:
            if self._wanted.phase is Phase.RUNNING:
                self.stop("nothing left to do")
            return
        if exit_code == EXIT_CANNOT_BOOT and child.slot == COORDINATOR and self._go_back(said):
            return
        tally = self._tallies[child.slot] = after_death(self._tally(child.slot), lived, exit_code, now)
        if is_hopeless(tally, was_ready=self._readiness.was_ready):
            why = f"reports that it cannot start: {said}" if exit_code == EXIT_CANNOT_BOOT else "does not stay alive"
            self._give_up(child.slot, tally, why)

    def _give_up(self, slot: Slot, tally: Tally, why: str) -> None:
        self._tallies[slot] = replace(tally, not_before=math.inf)
        if self._wanted.phase is Phase.RUNNING:
            self._exit_code = EXIT_GAVE_UP
            self.stop(f"{slot} {why}")

    def _sweep(self) -> None:
        helpers = (self._readiness.pid, self._trial.pid)
        ours = {child.pid for child in self._children} | {pid for pid in helpers if pid is not None}
        killed = self._sweeper.sweep(ours, self._awake.now())
        if killed:
            log.warning("killed %d processes that an earlier worker left behind", killed)

    def _feel_pulses(self) -> None:
        now = self._awake.now()
        for child in self._children:
            child.pulse.look(read_mtime(child.liveness), now, child.liveness_seconds)
            if child.slot != COORDINATOR:
                self._excuse(child, now)

    def _excuse(self, child: Child, now: float) -> None:
        """A worker that somebody stopped does not hang, and its agents would die with it. A coordinator's death costs
        nothing, and somebody must answer."""
        if child.pulse.missed and is_stopped(child.pid):
            child.pulse.excuse(now)
            self._stopped[child.pid] = child.pulse.mtime
            self._note(child.slot, f"{child.slot} (pid {child.pid}) is stopped: kill -CONT {child.pid} lets it go on")
        elif self._stopped.get(child.pid, child.pulse.mtime) != child.pulse.mtime:
            del self._stopped[child.pid]
            self._note(child.slot, "")

    # -- readiness

    def _probe(self) -> None:
        if self._is_probe_due():
            self._readiness.probe(self._awake.now())

    def _is_probe_due(self) -> bool:
        """A coordinator that is being replaced may still answer; that is not the readiness we wait for."""
        if self._wanted.phase is not Phase.RUNNING:
            return False
        generation = self._wanted.generations["coordinator"]
        return any(child.slot == COORDINATOR and child.generation == generation for child in self._children)

    def _probed(self, status: int) -> None:
        is_first = not self._readiness.was_ready
        if not self._readiness.reaped(status, self._awake.now()) or not self._is_probe_due():
            return
        log.info("ready")
        self._in_force.prove()
        if is_first:
            self._launch.on_ready()

    def _help(self, title: str, main: Callable[[], int]) -> int:
        return self._births.helper(title, main, self._children)

    def _status(self) -> str:
        workers = sum(child.slot.role == "worker" for child in self._children)
        notes = [read_note(child.liveness) for child in self._children if child.slot == COORDINATOR]
        reasons = "; ".join(filter(None, [*self._troubles.values(), *notes]))
        return f"{self._wanted.phase}, {workers} workers" + (f", degraded: {reasons}" if reasons else "")
