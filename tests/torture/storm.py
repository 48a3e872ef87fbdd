"""Kill -9 at random moments over a mixed load, restart what must be restarted, and look whether anything is untrue.

Jobs are submitted, followed, cancelled and retried all the while by threads that know nothing of the kills. After each
kill: what should be gone is gone, every acknowledged submission is known, no sheet's state is impossible, every byte that
a follower saw is on disk. At the end every job must end as its kind must, and nothing may be left.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ipc.errors import MozartError
from tests.process.daemon import Daemon, describe, is_alive, processes_of, wait_until
from tests.torture import invariants, load
from tests.torture.load import Submitted
from tests.torture.watch import AWAY, Diary, Watcher

WORKERS, SLOTS, WATCHERS = 2, 3, 3
#: Processes of a daemon at rest: the supervisor, and its children with a fork server each.
LASTING = 1 + 2 * (1 + WORKERS)
#: Jobs that may be unfinished at once: enough to keep every slot busy, few enough to come to an end.
BACKLOG = 8
#: Seconds after one kill's checks until the next, at most; seconds that anything may take to come back.
CALM, PATIENCE = 0.8, 60.0
VICTIMS = {"coordinator": 4, "worker": 3, "supervisor": 2, "everything": 2}
#: Segments as short as they may be, so that followers and kills meet their borders and compression. Nothing is forgotten.
SETTINGS = {
    "worker_slots": SLOTS,
    "stop_grace_seconds": 0.3,
    "log_segment_bytes": 64 * 1024,
    "history_jobs": 1_000_000,
}


class Storm:
    def __init__(self, daemon: Daemon, seed: int) -> None:
        self.daemon = daemon
        self.dice = random.Random(seed)
        self.stop = threading.Event()
        self.calm = threading.Event()
        """Set: submit nothing more."""
        self.submitted: list[Submitted] = []
        self.ended: dict[str, str] = {}
        self.kills: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.watchers = [Watcher(daemon, self.dice, self.stop) for _ in range(WATCHERS)]
        self.diary = Diary(daemon, self.stop)
        self._submitter = threading.Thread(target=self._submit_on_and_on, args=(random.Random(seed + 1),), daemon=True)

    def run(self, kills: int) -> None:
        threads = [*self.watchers, self.diary, self._submitter]
        for thread in threads:
            thread.start()
        try:
            for number in range(kills):
                self.stop.wait(self.dice.uniform(0.0, CALM))
                self.strike(self.dice.choices(list(VICTIMS), list(VICTIMS.values()))[0])
                self.check(f"after kill {number + 1}")
            self.calm.set()
            self._submitter.join(PATIENCE)
            self.bring_to_an_end()
        finally:
            self.calm.set()
            self.stop.set()
            for thread in threads:
                thread.join(PATIENCE)
        self.judge()

    # -- the load

    def _submit_on_and_on(self, dice: random.Random) -> None:
        while not self.calm.is_set():
            if len(self.submitted) - len(self.ended) >= BACKLOG:
                self._forget_ended()
                self.calm.wait(AWAY)
                continue
            self._submit(load.choose(dice))

    def _submit(self, kind: load.Kind) -> None:
        directory = self.daemon.home / "jobs" / f"{kind.name}-{time.monotonic_ns()}"
        path = load.score_of(kind, directory)
        try:
            job = self.daemon.request("submit", **load.submission(path))["job"]
        except MozartError:
            # Lost with the daemon: not acknowledged, so nothing is owed.
            self.calm.wait(AWAY)
            return
        self.submitted.append(Submitted(job, kind, directory / "workspace"))
        self.watchers[len(self.submitted) % WATCHERS].jobs.put(job)
        if kind.ends == ("cancelled",):
            self._ask("cancel", job)

    def _ask(self, method: str, job: str) -> None:
        """Until it is done, or done already."""
        while not self.stop.is_set():
            try:
                self.daemon.request(method, job=job)
            except MozartError as error:
                if error.code.startswith("E50"):
                    self.stop.wait(AWAY)
                    continue
                if error.code not in ("job_ended", "not_paused"):
                    self.wrong.append(f"{method} {job}: {error.code} {error.message}")
            return

    def _forget_ended(self) -> None:
        with contextlib.suppress(MozartError):
            for job in self.daemon.request("list", states=["completed", "failed", "cancelled"])["jobs"]:
                self.ended[job["id"]] = job["state"]
            for job in self.daemon.request("list", states=["paused"])["jobs"]:
                # A sheet that we interrupted five times looks like the one that kills the daemon.
                self._ask("resume", job["id"])

    def _cancel_unacknowledged(self) -> None:
        """Jobs whose submission was on disk when the coordinator died with the answer: some run until they are cancelled."""
        acknowledged = {one.job for one in self.submitted}
        for job in self.daemon.request("list", states=["queued", "running", "paused"])["jobs"]:
            if job["id"] not in acknowledged:
                self._ask("cancel", job["id"])

    # -- the kills

    def strike(self, victim: str) -> None:
        self.kills[victim] += 1
        if victim == "everything":
            self.daemon.kill_everything()
            self.daemon.start()
        elif victim == "supervisor":
            assert self.daemon.process
            os.kill(self.daemon.process.pid, signal.SIGKILL)
            self.daemon.process.wait(PATIENCE)
            self.until(lambda: not self._processes(), "the supervisor's death leaves processes behind")
            self.daemon.start()
        else:
            self._kill_child(victim)
        self.until(self.daemon.is_ready, f"not ready after the death of {victim}")

    def _processes(self) -> list[int]:
        return processes_of(self.daemon.home)

    def _kill_child(self, victim: str) -> None:
        status = self.daemon.status()
        chosen = self.dice.choice(status["workers"]) if victim == "worker" else status[victim]
        pidfd = os.pidfd_open(chosen["pid"])
        try:
            self.stop.wait(self.dice.uniform(0.0, 0.2))
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
        wait_until(lambda: not is_alive(chosen["pid"]))

    def until(self, condition: Callable[[], bool], otherwise: str) -> None:
        try:
            wait_until(condition, PATIENCE)
        except AssertionError:
            left = "\n".join(map(describe, self._processes()))
            raise AssertionError(f"{otherwise}\n{left}\n{self.daemon.printed()[-4000:]}") from None

    # -- what must be true

    def check(self, when: str) -> None:
        self.wrong += [f"{when}: {sentence}" for sentence in self._untrue()]
        assert not self.wrong, "\n".join(self.wrong)

    def _untrue(self) -> Iterator[str]:
        for one in tuple(self.submitted):
            if one.job not in self.ended:
                try:
                    yield from invariants.lasting(self.daemon, one.job)
                except MozartError as error:
                    yield f"{one.job} was acknowledged and is lost: {error.message}"
        for watcher in self.watchers:
            if watcher.current:
                yield from invariants.unlike_its_log(self.daemon, watcher, watcher.current, whole=False)
            yield from watcher.wrong
        yield from self.diary.wrong
        yield from invariants.run_twice(tuple(self.submitted))

    def bring_to_an_end(self) -> None:
        self._cancel_unacknowledged()

        def over() -> bool:
            self._forget_ended()
            return all(one.job in self.ended for one in self.submitted)

        self.until(over, "not every job ends")
        followed = lambda: sum(len(watcher.ended) for watcher in self.watchers) == len(self.submitted)  # noqa: E731
        self.until(followed, "not every follower is told the end")

    def judge(self) -> None:
        """With nobody at work any more."""
        for one in self.submitted:
            if self.ended[one.job] not in one.kind.ends:
                self.wrong.append(f"{one.job} is {self.ended[one.job]}, not {' or '.join(one.kind.ends)}")
            self.wrong += invariants.impossible(self.daemon.job(one.job))
        for watcher in self.watchers:
            for job in watcher.ended:
                self.wrong += invariants.unlike_its_log(self.daemon, watcher, job, whole=True)
        self.wrong += invariants.run_twice(self.submitted)
        self.wrong += invariants.leaked_credit(self.daemon, SLOTS)
        self.until(lambda: len(self._processes()) <= LASTING, "more is left than the daemon and its children")
        code = self.daemon.stop()
        self.wrong += self.daemon.leftovers() + ([f"exit code {code}"] if code else [])
        self.wrong += invariants.broken_database(self.daemon.home)
        assert not self.wrong, "\n".join(self.wrong)


def run(home: Path, kills: int, seed: int) -> Storm:
    daemon = Daemon(home, SETTINGS, WORKERS).start()
    try:
        storm = Storm(daemon, seed)
        storm.run(kills)
    finally:
        daemon.stop()
        daemon.remove()
    return storm
