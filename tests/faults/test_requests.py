"""Rows E1 to E9, C14, C15, B6, B7, C27: requests at once, over crashes, and while the disk takes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ipc.errors import MozartError
from mozartd.store.store import Store
from tests.faults.desk import Desk, submission
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, is_alive, wait_until
from tests.torture.faults import AFTER, BEFORE, Faults

Score = Callable[..., Path]
FREE = {"dependencies": {}}


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = await Store.open(str(tmp_path / "mozart.db"))
    yield Desk(store, tmp_path)
    await store.close()


async def refused(asking: Any) -> str:
    """The code of a refusal, or ''."""
    try:
        await asking
    except MozartError as error:
        return error.code
    return ""


# ---- E1, E2: pairs of requests while an agent still stops ------------------------------------------------------------

#: Of a job with two sheets, of which the first runs: (refusal, the job and its sheets when everything has come to its end).
ALONE = {
    "cancel": ("", "cancelled cancelled cancelled"),
    "cancel 1": ("", "cancelled cancelled completed"),
    "pause": ("", "paused completed pending"),
    "pause now": ("", "paused pending pending"),
    "resume": ("not_paused", "completed completed completed"),
    "retry": ("job_running", "completed completed completed"),
    "retry 1": ("sheet_running", "completed completed completed"),
    "modify": ("", "completed completed completed"),
    "hold": ("", "running completed pending"),
    "priority": ("", "completed completed completed"),
}
#: What was acknowledged first, and the second: the same.
AFTER_CANCEL = {
    **dict.fromkeys(ALONE, ("being_cancelled", "cancelled cancelled cancelled")),
    **dict.fromkeys(("cancel", "cancel 1", "hold", "priority"), ("", "cancelled cancelled cancelled")),
}
PAIRS = {
    "cancel": AFTER_CANCEL,
    "cancel 1": {
        "cancel": ("", "cancelled cancelled cancelled"),
        "cancel 1": ("", "cancelled cancelled completed"),
        "pause": ("", "paused cancelled pending"),
        "pause now": ("", "paused cancelled pending"),
        "resume": ("not_paused", "cancelled cancelled completed"),
        "retry": ("job_running", "cancelled cancelled completed"),
        "retry 1": ("sheet_running", "cancelled cancelled completed"),
        "modify": ("", "cancelled cancelled completed"),
        "hold": ("", "running cancelled pending"),
        "priority": ("", "cancelled cancelled completed"),
    },
    "pause": {
        "cancel": ("", "cancelled cancelled cancelled"),
        "cancel 1": ("", "paused cancelled pending"),
        "pause": ("", "paused completed pending"),
        "pause now": ("", "paused pending pending"),
        "resume": ("", "completed completed completed"),
        "retry": ("job_running", "paused completed pending"),
        "retry 1": ("sheet_running", "paused completed pending"),
        "modify": ("", "paused completed pending"),
        "hold": ("", "paused completed pending"),
        "priority": ("", "paused completed pending"),
    },
    "pause now": {
        "cancel": ("", "cancelled cancelled cancelled"),
        "cancel 1": ("", "paused cancelled pending"),
        "pause": ("", "paused pending pending"),
        "pause now": ("", "paused pending pending"),
        "resume": ("", "completed completed completed"),
        "retry": ("job_running", "paused pending pending"),
        "retry 1": ("sheet_running", "paused pending pending"),
        "modify": ("", "paused pending pending"),
        "hold": ("", "paused pending pending"),
        "priority": ("", "paused pending pending"),
    },
    "hold": {
        "cancel": ("", "cancelled cancelled cancelled"),
        "cancel 1": ("", "running cancelled pending"),
        "pause": ("", "paused completed pending"),
        "pause now": ("", "paused pending pending"),
        "resume": ("not_paused", "running completed pending"),
        "retry": ("job_running", "running completed pending"),
        "retry 1": ("sheet_running", "running completed pending"),
        "modify": ("", "running completed pending"),
        "hold": ("", "running completed pending"),
        "priority": ("", "running completed pending"),
    },
}


def expected(first: str, second: str) -> tuple[str, str, str]:
    """Of a pair: both refusals, and the end. What is refused, or changes only shares, is as if nobody had asked."""
    one = ALONE[first][0]
    two, end = PAIRS.get(first, ALONE)[second]
    return one, two, end


async def request(desk: Desk, what: str, job: str, score: Path) -> str:
    match what.split():
        case ["cancel", n]:
            return await refused(desk.ask("cancel", job=job, sheets=[int(n)]))
        case ["retry", n]:
            return await refused(desk.ask("retry", job=job, sheets=[int(n)]))
        case ["pause", *now]:
            return await refused(desk.ask("pause", job=job, now=bool(now)))
        case ["modify"]:
            return await refused(desk.ask("modify", job=job, **submission(score)))
        case ["hold"]:
            return await refused(desk.ask("hold", scope="command"))
        case ["priority"]:
            return await refused(desk.ask("priority", job=job, priority=7))
        case _:
            return await refused(desk.ask(what, job=job))


async def test_E01_a_weaker_wish_never_replaces_a_stronger_one(desk: Desk, score: Score) -> None:
    path, found, right = score("say 1", "say 2", sheet=FREE), {}, {}
    for first, second in product(ALONE, ALONE):
        job = await desk.submit(path)
        await desk.settle()
        assert await desk.states(job) == "running running pending"
        codes = [await request(desk, what, job, path) for what in (first, second)]
        await desk.settle()
        await desk.end_all()
        found[first, second] = (*codes, await desk.states(job))
        right[first, second] = expected(first, second)
        await refused(desk.ask("cancel", job=job))
        await refused(desk.ask("limits.clear", scope="command"))
    assert {pair: value for pair, value in found.items() if value != right[pair]} == {}


async def test_E01_what_was_cancelled_does_not_run_again(desk: Desk, score: Score) -> None:
    job = await desk.submit(score("say 1", "say 2", sheet=FREE))
    await desk.settle()
    await desk.ask("cancel", job=job, sheets=[1])
    await desk.ask("pause", job=job, now=True)
    await desk.ask("resume", job=job)
    await desk.end(f"{job}:1:1", "cancelled")
    assert (await desk.states(job)).split()[1] == "cancelled"


async def test_E02_what_needs_a_cancelled_sheet_ends_with_a_new_score(desk: Desk, score: Score) -> None:
    """Also when the agent is gone by then: who is faster makes no difference."""
    old, new = (
        score("say 1", "say 2", sheet=FREE),
        score("say 1", "say 2", name="new", sheet={"dependencies": {2: [1]}}),
    )
    for is_gone in (False, True):
        job = await desk.submit(old)
        await desk.settle()
        await desk.ask("cancel", job=job, sheets=[1])
        await desk.settle()
        if is_gone:
            await desk.ask("pause", job=job)
            await desk.end(f"{job}:1:1", "cancelled")
            await desk.ask("modify", job=job, yes=True, **submission(new))
        else:
            await desk.ask("modify", job=job, yes=True, **submission(new))
            await desk.end(f"{job}:1:1", "cancelled")
        assert await desk.states(job) == "cancelled cancelled blocked"


# ---- E3: the same key at once ----------------------------------------------------------------------------------------


async def test_E03_the_same_key_at_once_is_done_once(desk: Desk, score: Score) -> None:
    path = score("say 1", "say 2", sheet=FREE)

    async def twice(method: str, **params: Any) -> list[Any]:
        key = os.urandom(8).hex()
        asking = [desk.ask(method, key=key, **params) for _ in range(3)]
        return [
            one if isinstance(one, dict) else repr(one) for one in await asyncio.gather(*asking, return_exceptions=True)
        ]

    answers = {"submit": await twice("submit", **submission(path))}
    assert len(desk.book.jobs) == 1
    (job,) = desk.book.jobs
    await desk.settle()
    for method, params in {
        "pause": {}, "resume": {}, "cancel": {"sheets": [2]}, "modify": submission(path), "priority": {"priority": 3},
    }.items():  # fmt: skip
        answers[method] = await twice(method, job=job, **params)
    answers["hold"] = await twice("hold", scope="command")
    answers["limits.clear"] = await twice("limits.clear", scope="command")
    answers["cancel"] = await twice("cancel", job=job)
    await desk.end_all()
    answers["retry"] = await twice("retry", job=job)
    for method, given in answers.items():
        assert isinstance(given[0], dict), f"{method}: {given}"
        assert given == [given[0]] * 3, method
    refusals = await twice("resume", job=job)
    assert refusals == [refusals[0]] * 3
    assert "not paused" in refusals[0]


async def test_E03_who_comes_second_does_it_when_the_first_goes_away(desk: Desk, score: Score) -> None:
    given = submission(score("say 1"))
    first = asyncio.create_task(desk.ask("submit", key="k", **given))
    await asyncio.sleep(0)
    second = asyncio.create_task(desk.ask("submit", key="k", **given))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)["job"] in desk.book.jobs
    assert len(desk.book.jobs) == 1


# ---- E4: after -------------------------------------------------------------------------------------------------------


async def test_E04_a_paused_job_keeps_what_it_waits_for(desk: Desk, score: Score) -> None:
    path = score("say 1")
    a = await desk.submit(path)
    b = await desk.submit(path, after=a)
    await desk.ask("pause", job=b)
    await desk.ask("cancel", job=a)
    await desk.settle()
    await desk.end_all()
    assert await desk.states(a) == "cancelled cancelled"
    why = f"{a}, after which it was to run, is cancelled"
    assert desk.book.jobs[b].reason == f"paused by hand; {why}"
    reasons = [event.data.get("reason", "") for event in desk.book.journal.recent if event.job == b]
    assert reasons[-1].endswith(why)
    assert (await desk.ask("resume", job=b))["waits"] == why
    await desk.settle()
    await desk.end_all()
    assert await desk.states(b) == "paused pending", "a never completed"
    # What it waits for may be run again.
    await desk.ask("retry", job=a)
    await desk.ask("resume", job=b)
    await desk.settle()
    assert list(desk.book.running) == [f"{a}:1:2"]
    await desk.end_all()
    assert [await desk.states(a), await desk.states(b)] == ["completed completed"] * 2


async def test_E04_a_person_who_was_told_may_run_it_anyway(desk: Desk, score: Score) -> None:
    path = score("say 1")
    a = await desk.submit(path)
    b = await desk.submit(path, after=a)
    await desk.ask("cancel", job=a)
    await desk.settle()
    await desk.end_all()
    assert await desk.states(b) == "paused pending"
    assert (await desk.ask("resume", job=b))["waits"] == ""
    await desk.settle()
    await desk.end_all()
    assert await desk.states(b) == "completed completed"


# ---- E6 --------------------------------------------------------------------------------------------------------------


async def test_E06_a_stop_that_nobody_finds_written_down_is_an_interruption(desk: Desk, score: Score) -> None:
    job = await desk.submit(score("say 1"))
    await desk.settle()
    await desk.end(f"{job}:1:1", "cancelled")
    assert await desk.states(job) == "running running", "it runs again"
    rows = await desk.store.read("attempts_of", seq=1, after=0, upto=9)
    assert json.loads(rows[0]["facts"])["verdict"] == "interrupted"
    await desk.end_all()
    assert await desk.states(job) == "completed completed"


# ---- the disk takes nothing ------------------------------------------------------------------------------------------


@pytest.fixture
def faulty(home: Path) -> Iterator[tuple[Daemon, Faults]]:
    daemon = Daemon(home, {"worker_slots": 4}, workers=1)
    faults = Faults(daemon)
    yield daemon.start(), faults
    faults.end()
    check_end(daemon)
    faults.close()


def is_writing(daemon: Daemon) -> bool:
    return bool(daemon.status()["state"] == "ready")


def asked(daemon: Daemon, method: str, **params: Any) -> MozartError:
    with pytest.raises(MozartError) as caught:
        daemon.request(method, **params)
    return caught.value


def restart(daemon: Daemon, faults: Faults) -> None:
    """The coordinator dies with what is only in its memory, and there is room again."""
    pid = daemon.pid("coordinator")
    os.kill(pid, signal.SIGKILL)
    faults.end()
    wait_until(lambda: daemon.is_listening() and daemon.pid("coordinator") != pid and daemon.is_ready())


def test_E05_nobody_is_told_to_do_what_is_not_on_disk(
    faulty: tuple[Daemon, Faults], score: Score, tmp_path: Path
) -> None:
    daemon, faults = faulty
    job = daemon.run(score("gate go\nsay one", "say two", sheet=FREE))
    agent = attempt(daemon, job)["agent_pid"]
    faults.fail(errno.ENOSPC)
    asking: dict[str, dict[str, Any]] = {
        "cancel": {"job": job, "key": "k1"},
        "hold": {"scope": "command", "key": "k2"},
        "group.set": {"name": "night", "parallel": 1, "key": "k3"},
    }
    said = {method: asked(daemon, method, **params) for method, params in asking.items()}
    for method, error in said.items():
        assert (error.code, error.hint) == ("E403", "make room on the disk"), method
        assert error.message.endswith("it is only in memory, and lost if the daemon ends now"), method
        assert asked(daemon, method, **asking[method]).message == error.message, "the same key, the same answer"
    # E7: one source for all answers.
    shown = daemon.job(job)["job"]
    assert (shown["state"], shown["unsaved"]) == ("running", True)
    assert daemon.request("list")["jobs"] == daemon.request("list", states=["running"])["jobs"] == [shown]
    assert daemon.request("list", states=["cancelled"])["jobs"] == []
    assert daemon.request("status")["jobs"] == [shown]
    assert "a change is not saved" in daemon.mozart("status", job).stdout
    assert "a change is not saved" in daemon.mozart("list").stdout
    restart(daemon, faults)
    shown = daemon.job(job)["job"]
    assert (shown["state"], shown["unsaved"]) == ("running", False), "as everybody was told"
    assert is_alive(agent), "its agent was told nothing"
    (tmp_path / "workspace" / "go").open("w").close()
    assert daemon.wait(job)["state"] == "completed"
    assert daemon.request("limits")["holds"] == []


def attempt(daemon: Daemon, job: str) -> dict[str, Any]:
    daemon.wait_for(job, "attempt.started")
    wait_until(lambda: daemon.job(job)["sheets"][0]["attempts"][0]["agent_pid"])
    found: dict[str, Any] = daemon.job(job)["sheets"][0]["attempts"][0]
    return found


def test_E05_what_was_asked_is_done_when_there_is_room(faulty: tuple[Daemon, Faults], score: Score) -> None:
    daemon, faults = faulty
    job = daemon.run(score("hang"))
    attempt(daemon, job)
    faults.fail(errno.ENOSPC)
    asked(daemon, "cancel", job=job, key="k")
    faults.end()
    assert daemon.wait(job)["state"] == "cancelled"
    assert daemon.request("cancel", job=job, key="k") == {"job": job, "sheets": [1]}


def test_E06_a_pause_that_a_kill_lost_cancels_nothing(
    faulty: tuple[Daemon, Faults], score: Score, tmp_path: Path
) -> None:
    daemon, faults = faulty
    job = daemon.run(score("gate go\nsay one"))
    attempt(daemon, job)
    faults.fail(errno.ENOSPC)
    asked(daemon, "pause", job=job, now=True)
    restart(daemon, faults)
    (tmp_path / "workspace" / "go").open("w").close()
    assert daemon.wait(job)["state"] == "completed"


def test_C14_what_was_not_sent_goes_back_when_its_job_is_paused(
    faulty: tuple[Daemon, Faults], score: Score, tmp_path: Path
) -> None:
    daemon, faults = faulty
    job = daemon.run(score("gate go", "write two", "write three", sheet={"dependencies": {2: [1], 3: [1]}}))
    attempt(daemon, job)
    faults.fail(errno.ENOSPC)
    (tmp_path / "workspace" / "go").open("w").close()
    wait_until(lambda: daemon.status()["state"] == "degraded")
    asked(daemon, "pause", job=job)
    faults.end()
    wait_until(lambda: daemon.job(job)["job"]["state"] == "paused")
    wait_until(lambda: daemon.job(job)["sheets"][1]["state"] == "pending")
    assert daemon.status()["workers"][0]["running"] == 0
    daemon.request("cancel", job=job)
    assert not (tmp_path / "workspace" / "two").exists()


# ---- E8, E9 ----------------------------------------------------------------------------------------------------------


def test_E08_a_job_and_its_first_event_are_one_transaction(faulty: tuple[Daemon, Faults], score: Score) -> None:
    daemon, faults = faulty
    given = submission(score("say one", workspace=str(daemon.home / "w")))
    for n, what in ((1, AFTER), (2, AFTER), (3, AFTER), (4, AFTER), (6, BEFORE)):
        pid = daemon.pid("coordinator")
        faults.at(n, what)
        with contextlib.suppress(MozartError):
            daemon.request("submit", **given)
        wait_until(lambda: faults.has_happened)
        wait_until(lambda pid=pid: daemon.is_listening() and daemon.pid("coordinator") != pid and daemon.is_ready())
    jobs = {job["id"] for job in daemon.request("list", all=True)["jobs"]}
    for job in jobs:
        daemon.wait(job)
    with contextlib.closing(sqlite3.connect(daemon.home / "state" / "mozart.db")) as database:
        told = [job for (job,) in database.execute("SELECT job FROM events WHERE type = 'job.queued'")]
    assert sorted(told) == sorted(jobs)


async def test_E08_a_submission_that_cannot_be_saved_is_nobody_elses_trouble(desk: Desk, score: Score) -> None:
    good = submission(score("say one"))
    bad = {**submission(score("say one", name="bad")), "path": "/odd/\udcff.yaml"}
    asking = [desk.ask("submit", **given) for given in (good, bad, good)]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(answer, dict) for answer in answers] == [True, False, True]
    assert not desk.turn.degraded
    await desk.settle()
    await desk.end_all()
    ids = [event.id for event in desk.book.journal.recent]
    assert ids == list(range(1, len(ids) + 1)), "no number is missing"
    rows = await desk.store.read("events_since", since=0, limit=1000)
    assert [row["id"] for row in rows] == ids


def test_E09_an_agent_gets_the_score_that_was_committed_with_its_start(
    faulty: tuple[Daemon, Faults], score: Score
) -> None:
    daemon, faults = faulty
    old, new = score("say old"), submission(score("say new", name="new"))
    faults.slow_syncs(0.3)
    job = daemon.run(old)
    answer = daemon.request("modify", job=job, yes=True, **new)
    faults.end()
    assert daemon.wait(job)["state"] == "completed"
    printed = daemon.mozart("logs", job).stdout
    assert ("new" in printed) == (answer["sheets"] == [1])
