"""Row C15: what concerns very many sheets is done in steps, and is on disk all at once or, where that may be, bit by bit."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import selectors
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ipc.errors import MozartError
from mozartd.coordinator.recovery import load, repair
from mozartd.settings import Settings
from mozartd.store.store import Store
from tests.faults.desk import Desk, submission
from tests.process.daemon import Daemon, wait_until, write_score

SHEETS = 5000
#: Seconds of the processor between two waits. Far more than a step takes, and far less than all sheets do at once.
MOST = 0.05


class Watching(selectors.EpollSelector):
    worst = 0.0
    since = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.worst = max(self.worst, time.thread_time() - self.since)
        try:
            return super().select(timeout)
        finally:
            self.since = time.thread_time()


def on_desk(body: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test with a desk on a loop that is watched."""

    async def play(tmp_path: Path, **given: Any) -> None:
        store = await Store.open(str(tmp_path / "mozart.db"))
        await body(Desk(store, tmp_path), tmp_path, **given)
        await store.close()

    def test(tmp_path: Path, **given: Any) -> None:
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(Watching())) as runner:
            runner.run(play(tmp_path, **given))

    _, *others = inspect.signature(body).parameters.values()
    test.__name__, test.__signature__ = body.__name__, inspect.Signature(others)  # type: ignore[attr-defined]
    return test


def song(
    directory: Path, says: str = "say 1", *, sheets: int = SHEETS, behind: int = 0, **parallel: Any
) -> dict[str, Any]:
    size = {"size": 1, "total_items": sheets, "dependencies": {n: [behind] for n in range(2, sheets + 1) if behind}}
    parallel = {"enabled": True, "max_concurrent": 2, **parallel}
    return submission(write_score(directory, says, sheet=size, parallel=parallel))


def on_disk(path: Path) -> tuple[str, tuple[tuple[str, int], ...]]:
    """What a coordinator that starts now would find: the score, and how many sheets are in which state."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN")
        (score,) = database.execute("SELECT score FROM scores ORDER BY seq DESC LIMIT 1").fetchone()
        states = database.execute("SELECT state, COUNT(*) FROM sheets GROUP BY state ORDER BY state").fetchall()
        return json.loads(score)["prompt"]["template"], tuple(states)


async def seen(asking: Awaitable[Any], path: Path) -> list[Any]:
    """All that was on disk from now until this is answered and a little later, each once."""
    found, over = [on_disk(path)], threading.Event()

    def look() -> None:
        while not over.is_set():
            if (now := on_disk(path)) != found[-1]:
                found.append(now)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        await asking
    finally:
        over.set()
        await asyncio.to_thread(looking.join)
    now = on_disk(path)
    return found if found[-1] == now else [*found, now]


async def quiet(desk: Desk) -> None:
    await desk.settle()
    while desk.book.later or desk.book.shut:
        await desk.settle()


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - as often as the loop turns
        await asyncio.sleep(0)


def watching() -> Watching:
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    assert isinstance(selector, Watching)
    selector.worst, selector.since = 0.0, time.thread_time()
    return selector


@on_desk
async def test_C15_modify_is_one_transaction_and_keeps_nobody_waiting(desk: Desk, tmp_path: Path) -> None:
    job = (await desk.ask("submit", **song(tmp_path)))["job"]
    await desk.settle()
    new, loop = song(tmp_path, "say 2", sheets=4000), watching()
    found = await seen(desk.ask("modify", job=job, yes=True, **new), tmp_path / "mozart.db")
    assert [sum(dict(states).values()) for _, states in found] == [SHEETS, 4000], "the old job, then the new one"
    assert ["say 1" in template for template, _ in found] == [True, False]
    assert loop.worst < MOST
    events = await desk.store.read("job_events_since", job=job, since=0, limit=-1)
    assert [event["type"] for event in events if event["type"].startswith("job.")][-1] == "job.modified"


@on_desk
async def test_C15_retry_is_one_transaction_and_its_events_have_no_gaps(desk: Desk, tmp_path: Path) -> None:
    job = (await desk.ask("submit", **song(tmp_path)))["job"]
    await desk.ask("pause", job=job)
    await desk.end_all()
    await desk.ask("cancel", job=job)
    await quiet(desk)
    await desk.ask("hold", scope="*")
    before = dict(on_disk(tmp_path / "mozart.db")[1])
    loop = watching()
    found = await seen(desk.ask("retry", job=job), tmp_path / "mozart.db")
    again = before["cancelled"]
    assert [dict(states).get("cancelled", 0) for _, states in found] == [again, 0]
    assert loop.worst < MOST
    events = await desk.store.read("events_since", since=0, limit=-1)
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert desk.parts.journal.last_published == len(events)
    told = Counter(event["sheet"] for event in events if event["type"] == "sheet.pending")
    assert len(told) >= again


@on_desk
async def test_C15_a_report_that_comes_meanwhile_is_not_lost(desk: Desk, tmp_path: Path) -> None:
    job = (await desk.ask("submit", **song(tmp_path)))["job"]
    await desk.settle()
    await quiet(desk)
    running = list(desk.book.running)
    modifying = asyncio.create_task(desk.ask("modify", job=job, yes=True, **song(tmp_path, "say 2")))
    await until(lambda: desk.book.shut)
    pausing = asyncio.create_task(desk.ask("pause", job=job))
    for attempt in running:
        await desk.end(attempt)
        assert desk.wire.told("ack") == [], "what it follows from is not on disk"
    await modifying
    await pausing
    await quiet(desk)
    assert desk.book.jobs[job].counts["completed"] == len(running)
    assert desk.book.jobs[job].state.value == "paused"
    assert sorted(desk.wire.told("ack")) == sorted(running)


@on_desk
async def test_C15_what_is_refused_changes_nothing(desk: Desk, tmp_path: Path) -> None:
    job = (await desk.ask("submit", **song(tmp_path, sheets=40)))["job"]
    await desk.settle()
    before = on_disk(tmp_path / "mozart.db")
    with pytest.raises(MozartError, match="without a yes"):
        await desk.ask("modify", job=job, **song(tmp_path, "say 2", sheets=20))
    assert on_disk(tmp_path / "mozart.db") == before
    assert not desk.book.shut
    await desk.end_all()
    assert (await desk.states(job)).startswith("completed")


@pytest.mark.parametrize("fail_fast", [True, False])
@on_desk
async def test_C15_a_failure_is_told_to_all_in_steps_and_to_the_rest_after_a_crash(
    desk: Desk, tmp_path: Path, fail_fast: bool
) -> None:
    behind = 0 if fail_fast else 1
    given = song(tmp_path, fail_fast=fail_fast, max_concurrent=1, behind=behind)
    job = (await desk.ask("submit", **given))["job"]
    await desk.settle()
    (attempt,) = desk.book.running
    loop = watching()
    ending = asyncio.create_task(desk.end(attempt, "missing", "E505"))
    copy = tmp_path / "copy.db"
    await until(lambda: _is_half_done(tmp_path / "mozart.db"))
    with closing(sqlite3.connect(tmp_path / "mozart.db")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    loop.worst, loop.since = 0.0, time.thread_time()
    await ending
    await quiet(desk)
    assert loop.worst < MOST
    assert Counter((await desk.states(job)).split()) == {"failed": 2, "blocked": SHEETS - 1}
    # And a coordinator that finds what there was when this one was half done.
    store = await Store.open(str(copy))
    book, limits, _ = await load(store, Settings(), str(tmp_path), {})
    repair(book, limits, [], time.time())
    (found,) = book.jobs.values()
    assert (found.state.value, +found.counts) == ("failed", Counter({"blocked": SHEETS - 1, "failed": 1}))
    assert found.reason.startswith("sheet 1 failed")
    await store.close()


def _is_half_done(path: Path) -> bool:
    return 0 < dict(on_disk(path)[1]).get("blocked", 0) < SHEETS - 1


@on_desk
async def test_C15_what_all_need_is_done(desk: Desk, tmp_path: Path) -> None:
    job = (await desk.ask("submit", **song(tmp_path, behind=1)))["job"]
    await desk.settle()
    (attempt,) = desk.book.running
    await desk.end(attempt)
    await quiet(desk)
    assert len(desk.book.running) == 2
    assert sum(map(len, desk.book.jobs[job].ready.values())) == SHEETS - 3


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    daemon.start()
    yield daemon
    daemon.stop()
    daemon.remove()


def test_C15_a_coordinator_killed_while_it_modifies(home: Daemon, tmp_path: Path) -> None:
    home.mozart("hold", "command")
    old = song(tmp_path, "say 1", sheets=3000)
    with home.client() as client:
        job = client.request("submit", old)["job"]
    database = tmp_path / "state" / "mozart.db"
    for round in range(2, 5):
        new = song(tmp_path, f"say {round}", sheets=3000 + round)
        before = on_disk(database)
        asking = threading.Thread(target=_modify, args=(home, job, new))
        kill_when_busy(home, asking, 8 * round)
        asking.join()
        wait_until(lambda: home.status()["coordinator"]["pid"])
        found = on_disk(database)
        size = sum(dict(found[1]).values())
        # The one or the other, and nothing in between.
        whole = found == before or (size == 3000 + round and f"say {round}" in found[0])
        assert whole, (found, before)


def kill_when_busy(daemon: Daemon, asking: threading.Thread, ticks: int) -> None:
    """Its coordinator, somewhere in the middle of what it is asked."""
    pid = daemon.pid("coordinator")
    begun = used(pid)
    asking.start()
    wait_until(lambda: used(pid) > begun + ticks or not asking.is_alive())
    os.kill(pid, signal.SIGKILL)


def used(pid: int) -> int:
    """Ticks of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _modify(daemon: Daemon, job: str, new: dict[str, Any]) -> None:
    try:
        with daemon.client() as client:
            client.request("modify", {"job": job, "yes": True, **new})
    except (MozartError, OSError):
        pass  # It was killed.
