"""The workers: who is connected, what each runs, how much more each takes.

Turns their frames into changes (through `settle`) and hands assignments down. Credit is slots minus running attempts, so it
cannot leak. A worker is dead when the kernel says so (pidfd), not when its connection is: a worker that lost us reconnects,
and what it runs is not run a second time.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ipc import blame
from ipc.bounds import PeerBounds
from ipc.connection import Connection, Peer, hello, hello_problem
from ipc.frames import Frame, FrameError
from ipc.messages import Finished, Limit, attempt_id
from ipc.states import Job as JobState
from mozartd.coordinator.book import Book
from mozartd.coordinator.budget import reached
from mozartd.coordinator.graves import Look, nobody_left
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt, Job, Sheet
from mozartd.coordinator.retry import hold_until, is_machines_fault, is_measured
from mozartd.coordinator.settle import interrupt, refuse, settle, take_back
from mozartd.processes import read_process

log = logging.getLogger(__name__)

#: Seconds between two tries of a worker whose machine has no room, at most.
LONGEST_PATIENCE = 30.0
#: What an attempt that was stopped says of itself, by what its sheet's history calls it.
STOPPED = {"cancel": "cancelled", "retry": "stopped to run again", "pause": "the job was paused"}


@dataclass(slots=True)
class Worker:
    name: str
    pid: int
    slots: int = 0
    restarts: int = 0
    connection: Connection | None = None
    running: set[str] = field(default_factory=set)
    draining: bool = False
    bearable: int | None = None
    """How many its machine had room for when it last had none for one more; and more with each that ends well."""
    patience: float = 0.0
    """Seconds after which one more may try all the same: what runs may run for hours."""

    @property
    def credit(self) -> int:
        if self.connection is None or self.connection.lost or self.draining:
            return 0
        most = self.slots if self.bearable is None else min(self.slots, self.bearable)
        return max(0, most - len(self.running))

    def learn(self, had_room: bool) -> None:
        """An attempt here has ended, and is counted among those that run still."""
        if had_room:
            self.patience = 0.0
            self.let_one_more()
        else:
            self.bearable = max(1, len(self.running) - 1)
            self.patience = min(max(0.25, 2 * self.patience), LONGEST_PATIENCE)

    def let_one_more(self) -> None:
        if self.bearable is not None:
            self.bearable = self.bearable + 1 if self.bearable < self.slots else None

    def send(self, frame: Frame) -> None:
        if self.connection is not None:
            self.connection.send(frame)


class Crew:
    """`due` runs the turn; `after_commit` postpones; `grew` tells followers; set by the coordinator's composition."""

    def __init__(self, book: Book, limits: Limits, supervisor_pid: int, blame_slots: int = -1) -> None:
        self._blame_slots = blame_slots
        self._loop = asyncio.get_running_loop()
        self._supervisor_pid = supervisor_pid
        self._book = book
        self._limits = limits
        self.workers: dict[str, Worker] = {}
        self._by_connection: dict[Connection, Worker] = {}
        self._burying: set[asyncio.Task[None]] = set()
        self.look: Look = lambda: ()
        """Who is left of dead workers."""
        self.due: Callable[[], None] = lambda: None
        self.after_commit: Callable[[Callable[[], None]], None] = lambda effect: effect()
        self.on_grew: Callable[[Attempt], None] = lambda attempt: None
        self.on_segment: Callable[[Attempt], None] = lambda attempt: None
        self.on_over: Callable[[Attempt], None] = lambda attempt: None
        self.is_watched: Callable[[Attempt], bool] = lambda attempt: False
        self.price: Callable[[Job, Frame], float | None] = lambda job, report: report["cost_usd"]
        self.on_report: Callable[[Finished], None] = lambda report: None
        self.on_empty: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<Crew {len(self.workers)} workers, credit {self.credit}>"

    @property
    def credit(self) -> int:
        return sum(worker.credit for worker in self.workers.values())

    def pick(self) -> Worker:
        """The worker with most room. Only called while there is credit."""
        return max(self.workers.values(), key=lambda worker: worker.credit)

    def pick_for(self, sheet: Sheet) -> Worker:
        """As `pick`; a sheet that may have killed a worker is put where it has least company."""
        if not sheet.history.interruptions:
            return self.pick()
        free = [worker for worker in self.workers.values() if worker.credit]
        return min(free, key=lambda worker: (len(worker.running), -worker.credit))

    def expect(self, name: str, pid: int) -> None:
        """This worker was alive when we were forked: it will say hello, or die."""
        self.workers[name] = Worker(name, pid)
        self._watch_death(self.workers[name])

    def stop(self, job: Job, sheet: Sheet, wish: str) -> None:
        """Stop the running attempt of a sheet: `cancel` it, or `pause` it to run again later. Its worker is told when that is
        on disk."""
        self._book.stop(job, sheet, wish)
        attempt = self._book.running.get(attempt_id(job.id, sheet.n, sheet.k))
        # Without one, it is about to be given back, and then does as is wished.
        if attempt:
            self.after_commit(partial(self._tell, attempt, wish))

    def _tell(self, attempt: Attempt, wish: str) -> None:
        """What is not with its worker yet will not go there (`assign`)."""
        worker = self.workers.get(attempt.worker)
        if worker and attempt.is_sent and attempt.id in self._book.running:
            worker.send({"type": "cancel", "attempt": attempt.id, "reason": STOPPED[wish]})

    def recall(self, job: Job) -> None:
        """What of it is not with its worker yet is not started."""
        for n in sorted(job.running):
            attempt = self._book.running.get(attempt_id(job.id, n, job.sheets[n].k))
            worker = self.workers.get(attempt.worker) if attempt else None
            if attempt and worker and not attempt.is_sent:
                self._take_back(worker, attempt)

    def watch(self, attempt: str, on: bool) -> None:
        """Ask for `grew` frames, or not any more."""
        running = self._book.running.get(attempt)
        worker = self.workers.get(running.worker) if running else None
        if worker:
            worker.send({"type": "watch" if on else "unwatch", "attempt": attempt})

    def assign(self, attempt: Attempt, assignment: Frame) -> None:
        """Hand an assignment to the attempt's worker, if it is still there."""
        worker = self.workers.get(attempt.worker)
        if worker is None:
            return
        if self._is_unwanted(attempt):
            take_back = partial(self._take_back, worker, attempt)
            if not self._book.postpone(attempt.job, take_back):
                take_back()
            return
        try:
            worker.send(assignment)
            attempt.is_sent = True
        except FrameError as error:
            hint = "see cross_sheet.max_output_chars and lookback_sheets"
            self.refuse(attempt, "E602", f"cannot assign it: {error}", hint)
            return

    def _is_unwanted(self, attempt: Attempt) -> bool:
        """Between its start and now somebody said that it is not to run, or its job that nothing is to."""
        job, sheet = self._book.find(attempt)
        return bool(job.wanted or sheet.history.stopping) or job.state is JobState.PAUSED

    def _take_back(self, worker: Worker, attempt: Attempt) -> None:
        worker.running.discard(attempt.id)
        take_back(self._book, self._limits, attempt, time.time())
        self.on_over(attempt)
        self.due()

    def refuse(self, attempt: Attempt, code: str, reason: str, hint: str) -> None:
        """It cannot be handed to its worker."""
        refuse_it = partial(self._refuse, attempt, code, reason, hint)
        if not self._book.postpone(attempt.job, refuse_it):
            refuse_it()

    def _refuse(self, attempt: Attempt, code: str, reason: str, hint: str) -> None:
        if worker := self.workers.get(attempt.worker):
            worker.running.discard(attempt.id)
        if attempt.id in self._book.running:
            refuse(self._book, self._limits, attempt, code, reason, hint, time.time())
            self.on_over(attempt)
            self.due()

    # -- connections

    def connect(self, bounds: PeerBounds) -> Connection:
        """The protocol of a new connection on the worker socket."""
        return Connection(self._first_frame_or_next, self._lost, bounds=bounds)

    def _first_frame_or_next(self, connection: Connection, frame: Frame) -> None:
        worker = self._by_connection.get(connection)
        if worker is not None:
            self._frame(worker, frame)
            return
        problem = hello_problem(frame, "worker") or self._stranger(connection.peer, frame)
        if problem:
            log.error("%s", problem)
            connection.refuse(problem)
            return
        self._welcome(connection, frame)

    def _stranger(self, peer: Peer, frame: Frame) -> str:
        """Why this is not a worker of ours: those are the supervisor's children, and the kernel knows them."""
        if peer.uid != os.geteuid():
            return f"cannot talk to a worker of uid {peer.uid}"
        process = read_process(peer.pid)
        if frame.get("pid") != peer.pid or process is None or process.parent != self._supervisor_pid:
            return f"cannot talk to process {peer.pid}: it is not a worker of this daemon"
        return ""

    def _welcome(self, connection: Connection, frame: Frame) -> None:
        name = frame["worker"]
        worker = self.workers.get(name)
        if worker is None:
            self.expect(name, frame["pid"])
            worker = self.workers[name]
        worker.connection, worker.slots, worker.restarts = connection, frame["slots"], frame.get("restarts", 0)
        # It offers none while it drains: its end is no surprise.
        worker.draining = not worker.slots
        self._by_connection[connection] = worker
        connection.send(hello("coordinator"))
        running = {entry["attempt"]: entry for entry in frame.get("running", ())}
        self._reconcile(worker, running, set(frame.get("unacknowledged", ())))
        log.info("worker %s (pid %d) is here, running %d", name, worker.pid, len(running))
        self.due()

    def _reconcile(self, worker: Worker, running: dict[str, dict[str, Any]], unacknowledged: set[str]) -> None:
        """What the book says this worker runs, and what it says: an assignment it never got is given back."""
        for attempt in [attempt for attempt in self._book.running.values() if attempt.worker == worker.name]:
            if attempt.id in running:
                attempt.size = running[attempt.id]["bytes"]
                self._refresh(worker, attempt)
            elif attempt.id not in unacknowledged:
                self._give_back(worker, attempt, "the assignment was lost with the coordinator")
        # An attempt the book does not know as this worker's must not run on.
        for id in running:
            known = self._book.running.get(id)
            if known is None or known.worker != worker.name:
                worker.send({"type": "cancel", "attempt": id, "reason": "unknown to the coordinator"})
            else:
                worker.running.add(id)

    def _refresh(self, worker: Worker, attempt: Attempt) -> None:
        """Say again what may have been lost with the last coordinator."""
        if self.is_watched(attempt):
            worker.send({"type": "watch", "attempt": attempt.id})
        self._stop_if_wanted(attempt)

    def _stop_if_wanted(self, attempt: Attempt) -> None:
        job, sheet = self._book.find(attempt)
        wish = "cancel" if job.wanted == "cancel" else sheet.history.stopping
        if wish:
            self.after_commit(partial(self._tell, attempt, wish))

    def _lost(self, connection: Connection) -> None:
        worker = self._by_connection.pop(connection, None)
        if worker is not None and worker.connection is connection:
            worker.connection = None

    # -- deaths

    def _watch_death(self, worker: Worker) -> None:
        try:
            fd = os.pidfd_open(worker.pid)
        except ProcessLookupError:
            self._loop.call_soon(self._died, worker)
            return
        self._loop.add_reader(fd, self._died_at, fd, worker)

    def _died_at(self, fd: int, worker: Worker) -> None:
        self._loop.remove_reader(fd)
        os.close(fd)
        # Whatever it still had sent is in the socket: take it before its attempts are given back.
        self._loop.call_soon(self._loop.call_soon, self._died, worker)

    def _died(self, worker: Worker) -> None:
        level = logging.WARNING if worker.running or not worker.draining else logging.INFO
        log.log(level, "worker %s (pid %d) ended with %d attempts", worker.name, worker.pid, len(worker.running))
        self.workers.pop(worker.name, None)
        if worker.connection is not None:
            worker.connection.abort()
        lost = [attempt for attempt in self._book.running.values() if attempt.worker == worker.name]
        for attempt in lost:
            attempt.innocent = not self._is_suspect(worker, attempt, lost)
        if lost:
            task = self._loop.create_task(self._give_back_when_gone(worker, lost), name=f"bury {worker.name}")
            self._burying.add(task)
            task.add_done_callback(self._burying.discard)
        self.due()
        if not self.workers:
            self.on_empty()

    def _is_suspect(self, worker: Worker, attempt: Attempt, lost: list[Attempt]) -> bool:
        """Whether it may be what killed its worker: what that was at when it died. When it was at nothing, those that have been
        there most often."""
        if culprit := blame.read(self._blame_slots, blame.slot_of(worker.name)):
            return attempt.id == culprit
        deaths = {each.id: self._book.find(each)[1].history.interruptions for each in lost}
        return deaths[attempt.id] == max(deaths.values())

    async def _give_back_when_gone(self, worker: Worker, attempts: list[Attempt]) -> None:
        """The supervisor is killing what the dead worker ran: wait until nobody is left, so that nothing runs twice at once."""
        await nobody_left(self.look)
        for attempt in attempts:
            self._give_back(worker, attempt, "its worker died")

    def _give_back(self, worker: Worker, attempt: Attempt, reason: str) -> None:
        if self._book.postpone(attempt.job, partial(self._give_back_now, worker, attempt, reason)):
            return
        self._give_back_now(worker, attempt, reason)

    def _give_back_now(self, worker: Worker, attempt: Attempt, reason: str) -> None:
        worker.running.discard(attempt.id)
        if attempt.id in self._book.running:
            interrupt(self._book, self._limits, attempt, reason, time.time(), innocent=attempt.innocent)
            self.on_over(attempt)
            self.due()

    # -- frames

    def _frame(self, worker: Worker, frame: Frame) -> None:
        kind = frame.get("type")
        if kind == "draining":
            worker.draining = True
            return
        attempt = self._book.running.get(frame.get("attempt", ""))
        if attempt is None:
            if kind == "finished":
                worker.running.discard(frame["attempt"])
                worker.send({"type": "ack", "attempt": frame["attempt"]})
            return
        # Its end waits, and what it says of its sheet.
        waits = kind in ("finished", "started")
        if not (waits and self._book.postpone(attempt.job, partial(self._hear, worker, attempt, kind, frame))):
            self._hear(worker, attempt, kind, frame)

    def _hear(self, worker: Worker, attempt: Attempt, kind: Any, frame: Frame) -> None:
        if attempt.id in self._book.running:
            with blame.on(attempt.job):
                self._heard(worker, attempt, kind, frame)

    def _heard(self, worker: Worker, attempt: Attempt, kind: Any, frame: Frame) -> None:
        if kind == "grew":
            attempt.size = frame["size"]
            self.on_grew(attempt)
        elif kind == "segment":
            self.on_segment(attempt)
        elif kind == "finished":
            self._finished(worker, attempt, frame)
        elif kind == "started":
            attempt.facts.update(agent_pid=frame["agent_pid"], started_at=frame["at"], worker_pid=worker.pid)
            self._book.note_held(attempt, frame.get("held"))
            self._book.note(attempt)
            self._book.journal.append(
                time.time(),
                "attempt.started",
                attempt.job,
                attempt.n,
                attempt.k,
                mode=attempt.mode,
                backend=attempt.facts.get("backend"),
            )
            self.due()
        elif kind == "progress":
            attempt.facts.update(bytes=frame["bytes"], lines=frame["lines"])
        elif kind == "noted":
            self._noted(attempt, frame["event"])
        else:
            log.warning("worker %s sent a frame of unknown type %r", worker.name, kind)

    def _finished(self, worker: Worker, attempt: Attempt, frame: Frame) -> None:
        frame["cost_usd"] = self.price(self._book.find(attempt)[0], frame)
        settle(self._book, self._limits, attempt, frame, time.time(), random.random())  # type: ignore[arg-type]
        self.on_report(frame)  # type: ignore[arg-type]
        self._learn(worker, not is_machines_fault(frame))  # type: ignore[arg-type]
        worker.running.discard(attempt.id)
        self.after_commit(lambda: worker.send({"type": "ack", "attempt": attempt.id}))
        self.on_over(attempt)
        self.due()

    def _spent(self, job: Job, sheet: Sheet, attempt: Attempt, usage: dict[str, Any]) -> None:
        """What it has used so far may be more than its job is allowed: then every one of the job's that costs stops."""
        told = {"tokens": usage, "cost_usd": usage["cost_usd"], "model": usage["model"]}
        attempt.cost_usd = self.price(job, told) or 0.0
        self._stop_too_dear(job, sheet, attempt)

    def look_at_money(self, job: Job) -> None:
        """Its limits may be lower now than what those that run have cost already."""
        for attempt in list(self._book.attempts_of(job)):
            self._stop_too_dear(job, job.sheets[attempt.n], attempt)

    def _stop_too_dear(self, job: Job, sheet: Sheet, attempt: Attempt) -> None:
        reason = reached(job, sheet, self._book.cost_running(job), attempt.cost_usd)
        if not reason or job.policy.on_reached != "stop":
            return
        whole = reached(job, sheet, self._book.cost_running(job), -math.inf)
        for each in list(self._book.attempts_of(job)) if whole else [attempt]:
            if each.cost_usd and (worker := self.workers.get(each.worker)):
                worker.send({"type": "cap", "attempt": each.id, "reason": reason})

    def _learn(self, worker: Worker, had_room: bool) -> None:
        worker.learn(had_room)
        if not had_room:
            self._loop.call_later(worker.patience, self._let_one_more, worker)

    def _let_one_more(self, worker: Worker) -> None:
        worker.let_one_more()
        self.due()

    def _noted(self, attempt: Attempt, event: dict[str, Any]) -> None:
        """Known before the end: a session that can be continued, a limit that others obey from now on."""
        job, sheet = self._book.find(attempt)
        if event["kind"] == "session":
            attempt.facts["session_id"] = event["session_id"]
            self._book.note(attempt)
        elif event["kind"] == "usage":
            self._spent(job, sheet, attempt, event)
            return
        elif event["kind"] == "limited":
            now = time.time()
            limit: Limit = {"until": event["until"], "retry_after": event["retry_after"], "kind": event["limit_kind"]}
            limit["guess"] = bool(event.get("guess"))
            until = hold_until(limit, sheet.history.waits, job.policy, now)
            why, measured = f"{attempt.id} hit a limit", is_measured(limit)
            if event.get("patient"):
                why = f"{attempt.id} waits for a limit"
                self._limits.sit_out(attempt.scope, until, why, event["evidence"], now, measured, attempt.id)
            else:
                giver = job.id if limit["guess"] else ""
                self._limits.hold(attempt.scope, until, why, event["evidence"], now, measured, giver)
        self.due()
