"""Every write to the database, one after the other, is where the coordinator dies or the disk fails.

There are three acts: a coordinator's birth on an empty directory; a story with a bit of all that changes state; a restart. The
writes of each are counted once. Then they are lived again and again, each time with another write going wrong. What was
acknowledged must be true afterwards, and what was not must not be half there.

The supervisor, its worker and the sockets stay, and so does the coordinator until something goes wrong with it: the next one
then finds what it left. Where there must be none for a while, its supervisor is stopped by a signal meanwhile. Several daemons
live side by side, for much of a life is waiting.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from ipc.errors import MozartError
from ipc.states import JOB_ENDED
from tests.process.daemon import Daemon, children_of, describe, processes_of, title_of, wait_until, write_score
from tests.torture import invariants
from tests.torture.faults import AFTER, BEFORE, Faults, compiled
from tests.torture.load import submission

#: What may go wrong at a write, and its name.
WRONGS = {BEFORE: "death before", AFTER: "death after", errno.ENOSPC: "ENOSPC at", errno.EIO: "EIO at"}
#: A number of writes that no story comes to.
NEVER = 10**6
#: Daemons side by side in a long run, and lives until each of them is followed by a new one.
SIDE_BY_SIDE, LIVES = 4, 100
SLOTS = 2
#: Nobody hangs here, and the supervisor's clock leaps.
SETTINGS = {"worker_slots": SLOTS, "liveness_seconds": 10**6, "stop_grace_seconds": 0.3}
#: Agents that cost next to nothing. The second sheet's first attempt fails.
GOOD = ("/bin/sh", "-c", 'echo "$MOZART_SHEET.$MOZART_ATTEMPT" && [ "$MOZART_SHEET.$MOZART_ATTEMPT" != 2.1 ]')
LONG = ("sleep", "1000")
#: Failures after which a long run is not worth going on with.
ENOUGH = 10


class Act(StrEnum):
    BIRTH = "birth"
    STORY = "story"
    RESTART = "restart"


class Point(NamedTuple):
    """At the n-th write of the act, this."""

    act: Act
    n: int
    what: int

    def __str__(self) -> str:
        return f"{WRONGS[self.what]} write {self.n} of the {self.act}"


NOTHING = Point(Act.BIRTH, NEVER, BEFORE)


class Outcome(NamedTuple):
    lives: int
    """Those in which something went wrong."""
    beyond: int
    """Those that had ended before the write they were to fail at: no two make exactly as many."""
    writes: dict[Act, int]
    """When all goes well."""


class Story:
    """What is asked of a daemon, and what of it was acknowledged."""

    def __init__(self, daemon: Daemon, faults: Faults, directory: Path) -> None:
        self._daemon, self._faults = daemon, faults
        directory.mkdir()
        # No two lives have a job of the same name: whatever stays from one is seen in the next.
        self._names = (f"good-{directory.name}", f"long-{directory.name}")
        self._good = two_sheets(directory, self._names[0], *GOOD)
        self._long = two_sheets(directory, self._names[1], *LONG)
        self.good = self.long = ""
        self.acknowledged: set[str] = set()

    def tell(self) -> None:
        self.good = self._ask("submit", **self._good).get("job", "")
        self.long = self._ask("submit", **self._long).get("job", "")
        self._ask("group.set", name="night", parallel=3)
        self._ask("hold", scope="claude_cli", seconds=3600)
        if self.long:
            for method, more in (("priority", {"priority": 7}), ("pause", {}), ("resume", {}), ("cancel", {})):
                self._ask(method, job=self.long, **more)
        if self.good:
            with suppress(AssertionError, MozartError):
                self._daemon.wait(self.good)

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Its answer; nothing when there is none, or it was refused for want of a disk."""
        try:
            answer: dict[str, Any] = self._daemon.request(method, **params)
        except MozartError as error:
            # What is in the way of a later request may be that an earlier one was lost.
            consequence = error.code.startswith("E") or error.code in ("not_paused", "job_ended", "job_paused")
            if not (consequence and self._faults.has_happened):
                raise
            return {}
        self.acknowledged.add(method)
        return answer

    def untrue(self) -> Iterator[str]:
        """Once the daemon is well again: what was acknowledged and is not so."""
        jobs = self._daemon.request("list", all=True)["jobs"]
        for job in [job for job in jobs if job["name"] in self._names]:
            if job["state"] not in JOB_ENDED and job["name"].startswith("long") and "cancel" not in self.acknowledged:
                self._daemon.request("cancel", job=job["id"])
            ended = self._daemon.wait(job["id"])["state"] if job["state"] != "paused" else "paused"
            if job["name"].startswith("good") and ended != "completed":
                yield f"{job['id']} is {ended}"
            yield from invariants.lasting(self._daemon, job["id"])
        for job in filter(None, (self.good, self.long)):
            self._daemon.job(job)  # raises when it is not known
        if "cancel" in self.acknowledged and (state := self._daemon.job(self.long)["job"]["state"]) != "cancelled":
            yield f"{self.long} is {state}, and its cancelling was acknowledged"
        if "priority" in self.acknowledged and self._daemon.job(self.long)["job"]["priority"] != 7:
            yield "the priority was acknowledged"
        if "group.set" in self.acknowledged and not self._daemon.request("group.list")["groups"]:
            yield "the group was acknowledged"
        if "hold" in self.acknowledged and not self._daemon.request("limits")["holds"]:
            yield "the hold was acknowledged"
        yield from invariants.leaked_credit(self._daemon, SLOTS)


def two_sheets(directory: Path, name: str, *command: str) -> dict[str, Any]:
    more: dict[str, Any] = {"backend": {"command": command}, "retry": {"base_delay_seconds": 0.01}}
    return submission(write_score(directory, "", "", name=name, **more))


class Stage:
    """A daemon in which one coordinator after the other lives."""

    def __init__(self, home: Path) -> None:
        self.daemon = Daemon(home, SETTINGS, workers=1)
        self.faults = Faults(self.daemon)
        self.lives = 0
        self._staying: set[int] = set()

    def open(self, point: Point = NOTHING) -> int:
        """The daemon's own start, with this going wrong. How many writes it made."""
        self._order(point)
        self.daemon.start()
        writes = self.faults.seen
        self._order(NOTHING)
        self._staying = {self.daemon.pid("supervisor"), self.daemon.pid("worker")}
        self.faults.spread_deaths(self.daemon.pid("supervisor"))
        return writes

    def close(self, point: Point = NOTHING) -> None:
        self._order(point)
        code = self.daemon.stop()
        wrong = [*self.daemon.leftovers(), *invariants.broken_database(self.daemon.home)]
        wrong += [f"exit code {code}"] if code else []
        assert not wrong, "\n".join(wrong)

    def remove(self) -> None:
        self.daemon.remove()
        self.faults.close()

    def live(self, point: Point) -> int:
        """One act with this going wrong. How many writes it made. Raises AssertionError with what is untrue."""
        self.lives += 1
        story = Story(self.daemon, self.faults, self.daemon.home / f"story-{self.lives}")
        writes, wrong = self._play(point, story)
        wrong += [*invariants.broken_database(self.daemon.home), *self._left({self.daemon.pid("coordinator")})]
        assert not wrong, "\n".join(wrong)
        return writes

    def _play(self, point: Point, story: Story) -> tuple[int, list[str]]:
        match point.act:
            case Act.BIRTH:
                wrong = self._restart(point, anew=True)
                writes = self.faults.seen
                story.tell()
            case Act.STORY:
                wrong = []
                self._order(point)
                story.tell()
                writes = self.faults.seen
            case Act.RESTART:
                story.tell()
                wrong = self._judge(story) + self._restart(point, anew=False)
                writes = self.faults.seen
        return writes, wrong + self._judge(story)

    def _restart(self, point: Point, *, anew: bool) -> list[str]:
        """One coordinator ends and another is born, `anew` on an empty directory: then only that is what goes wrong."""
        self._order(NOTHING if anew else point)
        with self._nobody_there() as wrong:
            if anew:
                for file in (self.daemon.home / "state").glob("mozart.db*"):
                    file.unlink()
                self._order(point)
        try:
            self.daemon.request("list")
        except MozartError:
            # Who comes early waits. Only what goes wrong may cost him his answer.
            if not self.faults.has_happened:
                raise
        self._become_well()
        return wrong

    def _order(self, point: Point) -> None:
        self.faults.at(point.n, point.what)

    def _judge(self, story: Story) -> list[str]:
        self._become_well()
        return list(story.untrue())

    def _become_well(self) -> None:
        try:
            wait_until(self.daemon.is_ready)
        except AssertionError:
            raise AssertionError(f"it does not become well: {self.daemon.status()}") from None

    # -- the supervisor and its coordinator

    @contextmanager
    def _nobody_there(self) -> Iterator[list[str]]:
        """The coordinator stops as it is asked to, and is not followed by another one until the block ends. What is wrong
        about that."""
        supervisor, coordinator = self.daemon.pid("supervisor"), self.daemon.pid("coordinator")
        os.kill(supervisor, signal.SIGSTOP)
        try:
            wait_until(lambda: stat(supervisor)[0] == "T")
            os.kill(coordinator, signal.SIGTERM)
            wait_until(lambda: stat(coordinator)[0] == "Z")
            # The kernel keeps it for a supervisor that does not look.
            status = int(stat(coordinator)[-1])
            wrong = self._left(set())
            if not self.faults.has_happened:
                # Else nobody may open the database before the next one does: that alone would mend it.
                wrong += [f"the coordinator ended with {status}"] if status else []
                wrong += invariants.broken_database(self.daemon.home)
            yield wrong
        finally:
            self.faults.age()
            os.kill(supervisor, signal.SIGCONT)

    def _left(self, more: set[int]) -> list[str]:
        """Processes that stay, beyond those that should and `more`."""
        staying = self._staying | more

        def strangers() -> set[int]:
            helpers = {child for pid in staying for child in children_of(pid) if title_of(child) == "mozart-helper"}
            return set(processes_of(self.daemon.home)) - staying - helpers

        try:
            wait_until(lambda: not strangers())
        except AssertionError:
            return ["left: " + describe(pid) for pid in strangers()]
        return []


def stat(pid: int) -> list[str]:
    """/proc/PID/stat from the state on."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


@contextmanager
def staged(birth: Point = NOTHING) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="mz", ignore_cleanup_errors=True) as directory:
        stage = Stage(Path(directory))
        try:
            _at(stage, birth, stage.open)
            yield stage
            _at(stage, NOTHING, stage.close)
        finally:
            stage.remove()


def _at(stage: Stage, point: Point, act: Callable[[Point], object]) -> None:
    """What is untrue is told with where that was."""
    try:
        act(point)
    except Exception as error:
        # Of whatever kind: in a thread it would be lost.
        raise AssertionError(f"{point}: {type(error).__name__}: {error}\n{stage.daemon.printed()[-4000:]}") from error


def count(stage: Stage) -> dict[Act, int]:
    """The writes of each act when nothing goes wrong, at most: what shares a transaction in a story is a matter of time."""
    acts = [*Act, Act.STORY, Act.STORY]
    lives = [(act, stage.live(NOTHING._replace(act=act))) for act in acts]
    return {act: max(writes for lived, writes in lives if lived is act) for act in Act}


class Season:
    """Points, taken one by one by several stages until there are none left, or too many have failed. Each stage begins with
    a point of its own, `births` says which."""

    def __init__(self, points: Iterable[Point], births: Iterable[Point]) -> None:
        self._points, self._births = deque(points), deque(births)
        self._stop = threading.Event()
        self.lived: list[bool] = []
        """Of each life: did it come to its point?"""
        self.failures: list[str] = []

    def run(self, side_by_side: int) -> None:
        threads = [threading.Thread(target=self._play) for _ in range(side_by_side)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            # Interrupted: nobody may be left behind as he is.
            self._stop.set()

    @property
    def _is_over(self) -> bool:
        return not self._points or len(self.failures) >= ENOUGH or self._stop.is_set()

    def _play(self) -> None:
        """Stage after stage; a failure is the end of its stage."""
        while not self._is_over:
            try:
                with staged(self._births.popleft()) as stage:
                    while stage.lives < LIVES and not self._is_over:
                        self._live(stage)
            except AssertionError as error:
                self.failures.append(str(error))

    def _live(self, stage: Stage) -> None:
        with suppress(IndexError):
            point = self._points.popleft()
            _at(stage, point, stage.live)
            self.lived.append(stage.faults.has_happened)


def run(points: int, dice: random.Random, side_by_side: int = 1, write: int | None = None) -> Outcome:
    """That many lives, each with another write and wrong drawn; all there are if that is fewer, or all of one `write`."""
    compiled()
    with staged() as stage:
        writes = count(stage)
    assert writes[Act.STORY] > 50, "the library is not there"
    every = [Point(act, n, what) for act in Act for n in range(writes[act]) for what in WRONGS if write in (None, n)]
    first = [Point(Act.BIRTH, n, what) for n in range(writes[Act.BIRTH]) for what in WRONGS]
    season = Season(
        dice.sample(every, min(points, len(every))),
        [dice.choice(first) for _ in range(side_by_side + ENOUGH + len(every) // LIVES)],
    )
    season.run(side_by_side)
    assert not season.failures, "\n\n".join([f"{len(season.failures)} lives went wrong", *season.failures])
    return Outcome(season.lived.count(True), season.lived.count(False), writes)
