"""Sixteen clients ask for whatever comes to their minds while processes die, stand still, and the disk takes nothing.

Each client writes down what it asked, with its key, and what it was answered; the agents keep a diary of their own. At the
end both are compared with what is there: what was acknowledged happened, once; what was cancelled did not run again unless
somebody asked for it; no attempt ran twice; the same key gets the same answer; and everything comes to an end.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipc.client import Client
from ipc.errors import MozartError
from ipc.states import JOB_ENDED
from tests.process.daemon import Daemon, processes_of, wait_until, write_score
from tests.torture import invariants
from tests.torture.faults import Faults
from tests.torture.load import submission
from tests.torture.watch import AWAY, Diary

CLIENTS, WORKERS, SLOTS = 16, 2, 4
#: Seconds that a client goes on asking the same thing; that anything may take to come back; between two blows, at most.
STUBBORN, PATIENCE, CALM = 20.0, 60.0, 0.8
#: Seconds from the assignment to the agent's first line, on a machine where everything is busy or stands still.
SLOW = 3.0
DIARIST = Path(__file__).with_name("diarist")
SETTINGS = {"worker_slots": SLOTS, "stop_grace_seconds": 0.3, "history_jobs": 1_000_000}
#: What may happen, and how often.
BLOWS = {"coordinator": 4, "worker": 2, "supervisor": 1, "stop coordinator": 2, "stop worker": 1, "full disk": 3}
#: What a client asks, and how often.
WISHES = {
    "submit": 6, "cancel": 3, "cancel sheet": 3, "pause": 3, "pause now": 3, "resume": 5, "retry": 4, "retry sheet": 2,
    "modify": 2, "priority": 2, "hold": 1, "limits.clear": 2, "status": 3, "list": 2, "limits": 1,
}  # fmt: skip
READS = ("status", "list", "limits")


@dataclass
class Asked:
    """One request: `answer` when it was acknowledged, `code` when it was refused; neither: nobody knows."""

    what: str
    method: str
    params: dict[str, Any]
    at: float
    answered: float = 0.0
    answer: Any = None
    code: str = ""

    @property
    def may_have_happened(self) -> bool:
        """What the disk did not take is done when it does."""
        return self.answer is not None or self.code in ("", "E403")


@dataclass
class Record:
    """What all clients wrote down."""

    asked: list[Asked] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Asker(threading.Thread):
    def __init__(self, number: int, daemon: Daemon, record: Record, stop: threading.Event, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self._number, self._daemon, self._record, self._stop_, self._dice = number, daemon, record, stop, dice
        self._made = 0

    def run(self) -> None:
        while not self._stop_.is_set():
            what = self._dice.choices(list(WISHES), list(WISHES.values()))[0]
            method, params = self._think_of(what)
            if params is not None:
                self._ask(what, method, params)
            self._stop_.wait(self._dice.uniform(0.0, 0.1))

    def _think_of(self, what: str) -> tuple[str, dict[str, Any] | None]:
        method, _, more = what.partition(" ")
        if what in ("submit", "modify"):
            return self._with_score(method)
        if what in ("hold", "limits.clear"):
            return method, {"scope": "command", **({"seconds": 1} if what == "hold" else {})}
        if what in ("list", "limits"):
            return method, {"states": ["running"]} if what == "list" else {}
        if not self._record.jobs:
            return method, None
        # The newest: with those that have ended little can be done.
        params: dict[str, Any] = {"job": self._dice.choice(self._record.jobs[-20:])}
        if more == "sheet":
            params["sheets"] = [self._dice.randint(1, 3)]
        if what == "retry sheet":
            params["yes"] = True
        if method == "pause":
            params["now"] = more == "now"
        if method == "priority":
            params["priority"] = self._dice.randint(-20, 20)
        return method, params

    def _with_score(self, method: str) -> tuple[str, dict[str, Any] | None]:
        self._made += 1
        name = f"c{self._number}-{self._made}"
        directory = self._daemon.home / "jobs" / name
        directory.mkdir(parents=True)
        needs = self._dice.choice([{}, {2: [1]}, {3: [1, 2]}])
        command = [str(DIARIST), str(self._dice.randint(0, 4))]
        path = write_score(
            directory, "", "", "", name=name, backend={"command": command}, sheet={"dependencies": needs},
            parallel={"enabled": True, "max_concurrent": 2}, workspace=str(self._daemon.home / "w"),
        )  # fmt: skip
        params = submission(path)
        if method == "submit":
            after = self._dice.choice(self._record.jobs) if self._record.jobs and self._dice.random() < 0.1 else ""
            return method, {**params, **({"after": after} if after else {})}
        if not self._record.jobs:
            return method, None
        return method, {**params, "job": self._dice.choice(self._record.jobs[-20:]), "yes": True}

    def _ask(self, what: str, method: str, params: dict[str, Any]) -> None:
        if what not in READS:
            params = {**params, "key": os.urandom(8).hex()}
        asked = Asked(what, method, params, time.time())
        self._record.asked.append(asked)
        deadline = time.monotonic() + STUBBORN
        while time.monotonic() < deadline and not self._stop_.is_set():
            try:
                with Client(self._daemon.socket, STUBBORN) as client:
                    asked.answer = client.request(method, params)
                    break
            except MozartError as error:
                if not error.code.startswith("E50"):
                    asked.code = error.code
                    break
            self._stop_.wait(AWAY)
        asked.answered = time.time()
        self._judge(asked)

    def _judge(self, asked: Asked) -> None:
        if asked.answer is None:
            return
        if asked.what == "submit":
            self._record.jobs.append(asked.answer["job"])
        if asked.what == "list" and any(job["state"] != "running" for job in asked.answer["jobs"]):
            self._record.wrong.append(f"list --state running shows {asked.answer['jobs']}")


class Ordeal:
    def __init__(self, daemon: Daemon, faults: Faults, seed: int) -> None:
        self.daemon, self.faults, self.dice = daemon, faults, random.Random(seed)
        self.record, self.stop = Record(), threading.Event()
        self.blows: Counter[str] = Counter()
        self.diary = Diary(daemon, threading.Event())
        self._clients = [Asker(n, daemon, self.record, self.stop, random.Random(f"{seed}/{n}")) for n in range(CLIENTS)]

    def run(self, blows: int) -> None:
        (self.daemon.home / "w").mkdir(exist_ok=True)
        for thread in (self.diary, *self._clients):
            thread.start()
        try:
            for _ in range(blows):
                self.stop.wait(self.dice.uniform(0.1, CALM))
                self._strike(self.dice.choices(list(BLOWS), list(BLOWS.values()))[0])
        finally:
            self.stop.set()
            self.faults.end()
            for client in self._clients:
                client.join(PATIENCE)
        self._bring_to_an_end()
        self.record.wrong += [*self._untrue()]
        self.diary._stop_.set()
        assert not self.record.wrong, "\n".join(self.record.wrong[:50])

    def _strike(self, blow: str) -> None:
        self.blows[blow] += 1
        if blow == "full disk":
            self.faults.fail(errno.ENOSPC)
            self.stop.wait(self.dice.uniform(0.1, 1.0))
            if self.dice.random() < 0.5:
                self._signal("coordinator", signal.SIGKILL)
            self.faults.end()
        elif blow == "supervisor":
            assert self.daemon.process
            self.daemon.process.kill()
            self.daemon.process.wait(PATIENCE)
            wait_until(lambda: not self._left(), PATIENCE)
            self.daemon.start()
        elif blow.startswith("stop "):
            pid = self._signal(blow.removeprefix("stop "), signal.SIGSTOP)
            self.stop.wait(self.dice.uniform(0.05, 0.5))
            if pid:
                os.kill(pid, signal.SIGCONT)
        else:
            self._signal(blow, signal.SIGKILL)
        wait_until(self.daemon.is_ready, PATIENCE)

    def _signal(self, name: str, number: signal.Signals) -> int:
        with contextlib.suppress(MozartError, ProcessLookupError):
            return self.daemon.kill(name, number)
        return 0

    def _left(self) -> list[int]:
        return processes_of(self.daemon.home)

    def _bring_to_an_end(self) -> None:
        """Nobody holds or pauses anything any more: then every job ends."""

        def over() -> bool:
            with contextlib.suppress(MozartError):
                for hold in self.daemon.request("limits")["holds"]:
                    self.daemon.request("limits.clear", scope=hold["name"])
                jobs = self.daemon.request("list")["jobs"]
                for job in jobs:
                    if job["state"] == "paused":
                        self.daemon.request("resume", job=job["id"])
                return not jobs
            return False

        wait_until(over, PATIENCE)

    # -- what must be true

    def _untrue(self) -> Iterator[str]:
        shown = {job["id"]: self.daemon.job(job["id"]) for job in self.daemon.request("list", all=True)["jobs"]}
        yield from self._submitted_once(shown)
        yield from self._ran_as_asked(shown)
        yield from self._answered_the_same()
        for one in shown.values():
            yield from invariants.impossible(one)
        yield from self.diary.wrong

    def _submitted_once(self, shown: dict[str, Any]) -> Iterator[str]:
        names = Counter(one["job"]["name"] for one in shown.values())
        for asked in (one for one in self.record.asked if one.what == "submit"):
            name = asked.params["score"]["name"]
            least = 1 if asked.answer is not None else 0
            if not least <= names[name] <= 1:
                yield f"{name}, answered {asked.answer}, is there {names[name]} times"
        wait_until(lambda: self.diary.last >= self._last_event(), PATIENCE)
        queued = Counter(event["job"] for event in self.diary.events if _is_submission(event))
        for job in shown:
            if queued[job] != 1:
                yield f"{job} was queued {queued[job]} times"

    def _last_event(self) -> int:
        with self.daemon.client() as client:
            return int(client.request("events.follow", {"follow": True}).get("since", 0))

    def _ran_as_asked(self, shown: dict[str, Any]) -> Iterator[str]:
        begun, ended = defaultdict(list), {}
        for what, attempt, at in self._pages():
            if what == "begin":
                begun[attempt].append(at)
            else:
                ended[attempt] = what
        assigned = self._assigned()
        for attempt, times in begun.items():
            if len(times) > 1:
                yield f"{attempt} began {len(times)} times"
            job, n, k = attempt.rsplit(":", 2)
            if job not in shown:
                yield f"{attempt} is of a job that is not there"
                continue
            if int(k) > len(next(sheet for sheet in shown[job]["sheets"] if sheet["n"] == int(n))["attempts"]):
                yield f"{attempt} ran, and nobody knows of it"
            # From its assignment to its first line something may pass: what is stopped then is no news.
            began = times[0] - SLOW
            yield from self._against_wishes(job, int(n), attempt, max(began, assigned.get(attempt, math.inf)))
        for job, one in shown.items():
            if one["job"]["state"] not in JOB_ENDED:
                yield f"{job} is {one['job']['state']}"
            for sheet in one["sheets"]:
                attempt = f"{job}:{sheet['n']}:{len(sheet['attempts'])}"
                if sheet["state"] == "completed" and ended.get(attempt) != "done":
                    yield f"{attempt} is completed and says that it is {ended.get(attempt)}"

    def _assigned(self) -> dict[str, float]:
        """When the coordinator decided on each attempt."""
        query = "SELECT jobs.id, n, k, assigned_at FROM attempts JOIN jobs USING (seq)"
        with contextlib.closing(sqlite3.connect(self.daemon.home / "state" / "mozart.db")) as database:
            return {f"{job}:{n}:{k}": at for job, n, k, at in database.execute(query)}

    def _pages(self) -> Iterator[tuple[str, str, float]]:
        for line in (self.daemon.home / "w" / "diary").read_text().splitlines():
            # Who is killed while it looks at the clock leaves a line without the time.
            what, attempt, *at = line.split()
            if at:
                yield what, attempt, float(at[0])

    def _against_wishes(self, job: str, n: int, attempt: str, began: float) -> Iterator[str]:
        """It began after a word that it must not, and nobody may have taken that back."""
        words = [one for one in self.record.asked if one.params.get("job") == job]
        undo = {"cancel": ("retry",), "pause": ("resume", "retry")}
        for word in words:
            concerns = n in word.params.get("sheets", [n])
            if word.method not in undo or word.answer is None or not concerns or word.answered > began:
                continue
            undone = [
                one for one in words if one.method in undo[word.method] and one.may_have_happened and one.at < began
            ]
            if not undone and not (word.method == "pause" and self.stop.is_set() and began > self._calm_since()):
                yield f"{attempt} began {began - word.answered:.3f} s after {word.what} was acknowledged"

    def _calm_since(self) -> float:
        """From then on everything was resumed."""
        return max((one.answered for one in self.record.asked), default=0.0)

    def _answered_the_same(self) -> Iterator[str]:
        acknowledged = [one for one in self.record.asked if one.answer is not None and "key" in one.params]
        for one in self.dice.sample(acknowledged, min(200, len(acknowledged))):
            with contextlib.suppress(MozartError):
                again = self.daemon.request(one.method, **one.params)
                if again == one.answer:
                    continue
                yield f"{one.what} was answered {one.answer}, and again {again}"
                continue
            yield f"{one.what} was answered {one.answer}, and refused when asked again"


def _is_submission(event: dict[str, Any]) -> bool:
    return event["type"] == "job.queued" and "name" in event["data"]


def run(home: Path, blows: int, seed: int) -> Ordeal:
    daemon = Daemon(home, SETTINGS, WORKERS)
    faults = Faults(daemon)
    try:
        daemon.start()
        ordeal = Ordeal(daemon, faults, seed)
        ordeal.run(blows)
    finally:
        faults.end()
        daemon.stop()
        daemon.remove()
        faults.close()
    return ordeal
