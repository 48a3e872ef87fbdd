"""Every write to the database, one after the other, is where the coordinator dies or the disk fails.

The story is one life of a daemon with a bit of everything in it: it starts on an empty directory, is asked for all that
changes state, and stops. Its writes are counted once; then it is lived again and again, each time with another one of them
going wrong. What was acknowledged must be true afterwards, and what was not must not be half there.
"""

from __future__ import annotations

import errno
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ipc.errors import MozartError
from ipc.states import JOB_ENDED
from tests.process.daemon import Daemon, wait_until, write_score
from tests.torture import invariants
from tests.torture.faults import AFTER, BEFORE, Faults
from tests.torture.load import submission

#: What may go wrong at a write, and its name.
WRONGS = {BEFORE: "death before", AFTER: "death after", errno.ENOSPC: "ENOSPC at", errno.EIO: "EIO at"}
#: A number of writes that no story comes to.
NEVER = 10**6


class Story:
    """What is asked of a daemon, and what of it was acknowledged."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self._daemon = daemon
        self._good = submission(write_score(directory, "say one", "attempt 1: exit 1\nsay two", name="good"))
        self._long = submission(write_score(directory, "hang", "say never", name="long"))
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
            if not (error.code.startswith("E") or error.code in ("not_paused", "job_ended", "job_paused")):
                raise
            return {}
        self.acknowledged.add(method)
        return answer

    def untrue(self) -> Iterator[str]:
        """Once the daemon is well again: what was acknowledged and is not so."""
        for job in self._daemon.request("list", all=True)["jobs"]:
            if job["state"] not in JOB_ENDED and job["name"] == "long" and "cancel" not in self.acknowledged:
                self._daemon.request("cancel", job=job["id"])
            ended = self._daemon.wait(job["id"])["state"] if job["state"] != "paused" else "paused"
            if job["name"] == "good" and ended != "completed":
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


def live(order: Callable[[Faults], None]) -> int:
    """One life with what `order` lets go wrong. How many writes it made. Raises AssertionError with what is untrue."""
    with tempfile.TemporaryDirectory(prefix="mz", ignore_cleanup_errors=True) as directory:
        daemon = Daemon(Path(directory), workers=1)
        injected = Faults(daemon)
        story = Story(daemon, daemon.home)
        try:
            order(injected)
            start(daemon)
            story.tell()
            try:
                wait_until(daemon.is_ready)
            except AssertionError:
                raise AssertionError(f"it does not become well: {daemon.status()}\n{daemon.printed()}") from None
            wrong = list(story.untrue())
            code = daemon.stop()
            writes = injected.seen
            injected.end()
            wrong += [f"exit code {code}"] if code else []
            wrong += [*daemon.leftovers(), *invariants.broken_database(daemon.home)]
            assert not wrong, "\n".join([*wrong, daemon.printed()[-4000:]])
        finally:
            daemon.remove()
            injected.close()
    return writes


def start(daemon: Daemon) -> None:
    """It may refuse to begin a life on a disk that fails it, with a sentence; the next try then has a sound one."""
    try:
        daemon.start()
    except AssertionError:
        if "cannot use the database" not in daemon.printed():
            raise
        daemon.start()


def run(points: int, dice: random.Random) -> tuple[int, int]:
    """That many lives, each with another write and wrong drawn; all there are if that is fewer. (lives, writes)."""
    total = live(lambda injected: injected.at(NEVER, BEFORE))
    assert total > 50, "the library is not there"
    every = [(n, what) for n in range(total) for what in WRONGS]
    chosen = dice.sample(every, min(points, len(every)))
    for n, what in chosen:
        try:
            live(lambda injected, n=n, what=what: injected.at(n, what))  # type: ignore[misc]
        except (AssertionError, MozartError) as error:
            raise AssertionError(f"{WRONGS[what]} write {n} of {total}: {error}") from error
    return len(chosen), total
