"""Rows E1 to E9, C14, C15, B6, B7, C27: requests at once, over crashes, and while the disk takes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ipc.errors import MozartError
from mozartd.coordinator.limits import Limits
from mozartd.store.store import Store
from tests.faults.desk import Desk, submission
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, is_alive, wait_until, write_score
from tests.torture.faults import AFTER, BEFORE, Faults
from tests.unit.scenes import make_book, make_job

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
    "resume": ("", "completed completed completed"),
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
        "resume": ("", "cancelled cancelled completed"),
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
        "resume": ("", "running completed pending"),
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
    refusals = await twice("cancel", job=job, sheets=[99])
    assert refusals == [refusals[0]] * 3
    assert "cannot cancel sheet 99" in refusals[0]


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
    why = f"{a}, which it was to run after, is cancelled"
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
        assert error.message.endswith("it is only in memory, and lost if the daemon stops now"), method
        assert asked(daemon, method, **asking[method]).message == error.message, "the same key, the same answer"
    # E7: one source for all answers.
    shown = daemon.job(job)["job"]
    assert (shown["state"], shown["unsaved"]) == ("running", True)
    assert daemon.request("list")["jobs"] == daemon.request("list", states=["running"])["jobs"] == [shown]
    assert daemon.request("list", states=["cancelled"])["jobs"] == []
    assert daemon.request("status")["jobs"] == [shown]
    assert "a change is not saved" in daemon.mozart("status", job).stdout
    assert "a change is not saved" in daemon.mozart("list").stdout
    assert [hold["unsaved"] for hold in daemon.request("limits")["holds"]] == [True]
    assert [group["unsaved"] for group in daemon.request("group.list")["groups"]] == [True]
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


def test_C16_both_statuses_say_why_the_daemon_is_degraded(faulty: tuple[Daemon, Faults]) -> None:
    daemon, faults = faulty
    faults.fail(errno.ENOSPC)
    with contextlib.suppress(MozartError):
        daemon.request("hold", scope="nobody_cli")
    wait_until(lambda: daemon.status()["state"] == "degraded")
    said = [daemon.mozart("status").stdout, daemon.mozartd("status").stdout]
    faults.end()
    assert all("degraded" in one and "database or disk is full" in one for one in said), said
    wait_until(lambda: daemon.status()["state"] == "ready")
    assert "reason" not in daemon.mozartd("status").stdout


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
    old, new = submission(score("say old\nsleep 1")), submission(score("say new", name="new"))
    faults.slow_syncs(0.3)
    job = daemon.request("submit", **old)["job"]
    answer = daemon.request("modify", job=job, yes=True, **new)
    faults.end()
    assert daemon.wait(job)["state"] == "completed"
    printed = daemon.mozart("logs", job).stdout
    assert ("new" in printed) == (answer["sheets"] == [1])


# ---- B6, B7: what would be lost is said first ------------------------------------------------------------------------

#: 1 ← 2 ← 3 ← 5, 2 ← 6; 4 alone.
GRAPH = {"dependencies": {2: [1], 3: [2], 5: [3], 6: [2]}}


async def test_B06_what_depends_on_a_sheet_runs_again_with_it(desk: Desk, score: Score) -> None:
    path = score(*[f"say {n}" for n in range(1, 7)], sheet=GRAPH)
    job = await desk.submit(path)
    await desk.settle()
    while desk.book.running:
        attempt = next(iter(desk.book.running))
        desk.crew.price = lambda job, report: 1.25
        await desk.end(attempt)
    assert await desk.states(job) == "completed" + " completed" * 6
    with pytest.raises(MozartError, match=r"without a yes: sheets 3, 5, 6 run again \(last time \$3.75\)") as caught:
        await desk.ask("retry", job=job, sheets=[2])
    assert caught.value.hint == "add --yes, or --only to leave them as they are"
    for asked, runs in (
        ({"sheets": [2], "yes": True}, [2, 3, 5, 6]),
        ({"sheets": [2], "only": True}, [2]),
        ({"sheets": [5]}, [5]),
        ({"from": 3}, [3, 5]),
    ):
        before = {n: sheet["k"] for n, sheet in (await rows_of(desk)).items()}
        assert (await desk.ask("retry", job=job, **asked))["sheets"] == runs
        await desk.settle()
        await desk.end_all()
        after = {n: sheet["k"] for n, sheet in (await rows_of(desk)).items()}
        assert [n for n in before if after[n] > before[n]] == runs, asked
        assert await desk.states(job) == "completed" + " completed" * 6


async def rows_of(desk: Desk) -> dict[int, Any]:
    return {row["n"]: row for row in await desk.store.read("sheets_of", seq=1, after=0, limit=-1)}


async def test_B06_a_dependent_that_runs_is_interrupted_first(desk: Desk, score: Score) -> None:
    """Also when it completes before it hears of that: what it made is of the old input."""
    path = score("say 1", "say 2", sheet={"dependencies": {2: [1]}})
    for ending in ("cancelled", "ok"):
        job = await desk.submit(path)
        await desk.settle()
        await desk.end(f"{job}:1:1")
        assert list(desk.book.running) == [f"{job}:2:1"]
        with pytest.raises(MozartError, match="without a yes: sheet 2 runs again"):
            await desk.ask("retry", job=job, sheets=[1])
        await desk.ask("retry", job=job, sheets=[1], yes=True)
        await desk.settle()
        assert f"{job}:2:1" in desk.wire.told("cancel")
        await desk.end(f"{job}:2:1", ending)
        assert list(desk.book.running) == [f"{job}:1:2"], "it waits for the new input"
        await desk.end(f"{job}:1:2")
        assert list(desk.book.running) == [f"{job}:2:2"]
        assert desk.book.running[f"{job}:2:2"].mode == "normal"
        await desk.end(f"{job}:2:2")
        assert await desk.states(job) == "completed completed completed"


def test_B06_a_terminal_is_asked(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("say 1", "say 2", sheet={"dependencies": {2: [1]}}))
    shared_daemon.wait(job)
    done = shared_daemon.mozart("retry", job, "--sheet", "1")
    assert (done.returncode, shared_daemon.job(job)["job"]["state"]) == (2, "completed")
    assert "sheet 2 runs again" in done.stderr
    assert "--yes" in done.stderr
    assert "sheet 2 runs again" in at_a_terminal(shared_daemon, b"n\n", "retry", job, "--sheet", "1")
    assert shared_daemon.job(job)["job"]["state"] == "completed"
    assert "retrying" in at_a_terminal(shared_daemon, b"y\n", "retry", job, "--sheet", "1")
    shared_daemon.wait(job)
    assert [len(sheet["attempts"]) for sheet in shared_daemon.job(job)["sheets"]] == [2, 2]
    done = shared_daemon.mozart("retry", job, "--sheet", "1", "--only")
    assert "sheet 1" in done.stdout
    shared_daemon.wait(job)


def at_a_terminal(daemon: Daemon, typed: bytes, *args: str) -> str:
    """What a command prints there, and is answered when it asks."""
    ours, theirs = os.openpty()
    process = daemon.popen(*args, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    printed = b""
    with contextlib.suppress(OSError):
        while data := os.read(ours, 65536):
            printed += data
            if b"[y/N]" in data:
                os.write(ours, typed)
    os.close(ours)
    process.wait()
    return printed.decode()


async def test_B07_a_new_score_that_may_be_a_mistake_is_said_first(desk: Desk, score: Score, tmp_path: Path) -> None:
    path = score(*[f"say {n}" for n in range(1, 7)], sheet=FREE)
    job = await desk.submit(path)
    await desk.settle()
    await desk.end(f"{job}:1:1")
    other = tmp_path / "other"

    def another(count: int, **fields: Any) -> Path:
        """Of the same name and workspace, if not said otherwise."""
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        directory.mkdir()
        kept: dict[str, Any] = {"workspace": str(tmp_path / "workspace"), "sheet": FREE, **fields}
        return write_score(directory, *["say"] * count, **kept)

    fewer = another(3)
    notes = {
        "sheets 4-6 are dropped": fewer,
        "the score is called 'chant', and the job stays 'song'": another(6, name="chant"),
        f"its workspace becomes {other}, and what it made stays in": another(6, workspace=str(other)),
    }
    before = await desk.states(job)
    for note, path in notes.items():
        with pytest.raises(MozartError) as caught:
            await desk.ask("modify", job=job, **submission(path))
        assert (caught.value.code, caught.value.hint) == ("needs_yes", "add --yes")
        assert note in caught.value.message
        assert await desk.states(job) == before, "nothing was done"
    await desk.ask("modify", job=job, yes=True, **submission(fewer))
    await desk.settle()
    await desk.end_all()
    assert await desk.states(job) == "completed completed completed completed"


# ---- C15 -------------------------------------------------------------------------------------------------------------


async def test_C15_a_big_job_costs_the_loop_little_at_a_time(desk: Desk, score: Score) -> None:
    """Its own processor time between two waits; the bound has room for a slow machine."""
    job = await desk.submit(score("say", sheet={"size": 1, "total_items": 5000, **FREE}))
    loop = asyncio.get_running_loop()
    worst, last, going = 0.0, time.thread_time(), True

    def look() -> None:
        nonlocal worst, last
        now = time.thread_time()
        worst, last = max(worst, now - last), now
        if going:
            loop.call_soon(look)

    for method, params in {
        "list": {},
        "limits": {},
        "pause": {"job": job},
        "resume": {"job": job},
        "cancel": {"job": job},
    }.items():
        await desk.settle()
        worst, last = 0.0, time.thread_time()
        loop.call_soon(look)
        await desk.ask(method, **params)
        going = False
        await asyncio.sleep(0)
        going = True
        assert worst < 0.01, f"{method}: {1000 * worst:.1f} ms"
    await desk.end_all()
    assert (await desk.states(job)).split() == ["cancelled"] * 5001


# ---- C27 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jumps", [(3600,), (-3600,), (86400,), (-86400,), (86400, -86400), (-3600, 7200)])
def test_C27_times_of_day_move_with_the_clock_and_waits_do_not(jumps: tuple[int, ...]) -> None:
    now = 1_000_000.0
    retried, limited, asked_to_wait, later, between = (make_job(1, n) for n in range(1, 6))
    book = make_book(retried, limited, asked_to_wait, later, between)
    limits = Limits(book.journal)
    for job, scope in ((limited, "a/b/reset"), (asked_to_wait, "a/b/after")):
        job.sheets[1].scope = scope
        job.sheets[1].last = {"verdict": "rate_limited", "code": "E101", "message": "", "validations": []}
    limits.hold("a/b/reset", now + 600, "E101 resets at 3pm", "", now)
    limits.hold("a/b/after", now + 600, "E101 retry after 600", "", now, measured=True)
    limits.hold_by_hand("by/hand/x", now + 600, "by hand", now)
    for job in (retried, limited, asked_to_wait):
        sheet = job.sheets[1]
        job.take([sheet])
        book.change_job(job, "start", now)
        book.change_sheet(job, sheet, "start", now)
        book.change_sheet(job, sheet, "wait", now, "", now + 600)
    later.not_before = now + 600
    book.change_job(between, "start", now)
    between.not_before = now + 600
    book.change_job(between, "pause", now)
    for nth, jump in enumerate(jumps, 1):
        book.move_waits(jump, now + sum(jumps[:nth]), limits.is_measured)
        limits.move(jump)
    same, moved = now + 600, now + 600 + sum(jumps)
    assert [job.sheets[1].until for job in (retried, limited, asked_to_wait)] == [moved, same, moved]
    assert [limits.of(scope).until for scope in ("a/b/reset", "a/b/after", "by/hand/x")] == [same, moved, same]
    assert (later.not_before, between.not_before) == (same, moved)
    again = Limits(book.journal, [dict(row) for name, row in limits.take_changes() if name == "put_hold"])
    assert again.is_measured("a/b/after"), "also after a restart"
