"""The beat's commits: every effect runs, and what belongs together is on disk together or not at all."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from ipc.errors import MozartError
from ipc.paths import Paths
from mozartd.coordinator.admission import Admission, Bounds
from mozartd.coordinator.assign import Assigner, Scores
from mozartd.coordinator.book import Book
from mozartd.coordinator.budget import Budget, Budgets, local_day
from mozartd.coordinator.caps import Caps
from mozartd.coordinator.crew import Crew
from mozartd.coordinator.followers import Followers
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt, Choice, Job
from mozartd.coordinator.once import Answer, Once
from mozartd.coordinator.recovery import release_if_over
from mozartd.coordinator.turn import Turn
from mozartd.store.store import Store
from tests.unit.scenes import make_job


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(str(tmp_path / "mozart.db"))
    yield store
    await store.close()


def make_turn(store: Store, budgets: Budgets | None = None) -> tuple[Turn, Book]:
    journal = Journal(0)
    book, limits = Book(journal, 0), Limits(journal, budgets=budgets)
    caps = partial(Caps, book, limits, {}, {}, None)
    turn = Turn(
        store, book, limits, Crew(book, limits, os.getpid()), 4, caps, lambda job, sheet: "", Admission(Bounds())
    )
    return turn, book


async def submit(store: Store, book: Book, job: Job) -> Job:
    rows = [("put_score", {"seq": job.seq, "score": "{}", "source": "", "environment": "{}"})]
    rows += [("put_sheet", sheet.row(job.seq)) for sheet in job.sheets.values()]  # type: ignore[misc]
    await store.write([("put_job", job.row()), *rows])
    book.add(job)
    return job


async def test_an_effect_that_fails_takes_no_other_along(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    turn, book = make_turn(store)
    job = await submit(store, book, make_job(1))
    done: list[str] = []
    book.change_job(job, "pause", 1.0, "by hand")
    turn.after_commit(lambda: done.append("first"))
    turn.after_commit(lambda: done.remove("what is not there"))
    turn.after_commit(lambda: done.append("last"))
    await turn.committed()
    assert done == ["first", "last"]
    assert "ValueError" in caplog.text


async def test_rows_that_are_not_the_books_share_its_transaction(store: Store) -> None:
    """A job that is given another score is never half of one and half of another."""
    turn, book = make_turn(store)
    job = await submit(store, book, make_job(1))
    book.change_job(job, "pause", 1.0, "by hand")
    turn.write([("put_group", {"name": "impossible", "parallel": 2**64})])
    with pytest.raises(MozartError, match="cannot save"):
        await turn.committed()
    row = await store.read_one("job_by_id", job=job.id)
    assert row is not None
    assert row["state"] == "queued"


async def test_what_changes_while_a_commit_is_under_way_has_one_of_its_own(store: Store) -> None:
    """Also when it is no row of a job: a hold that a running agent met."""
    turn, book = make_turn(store)
    job = await submit(store, book, make_job(1))
    book.change_job(job, "pause", 1.0)
    first = turn.committed()
    await asyncio.sleep(0)
    book.journal.append(2.0, "hold.set", scope="a/b/c")
    turn.due()
    await first
    for _ in range(1000):
        if [event.type for event in book.journal.recent] == ["job.paused", "hold.set"]:
            break
        await turn.shown()
    else:
        pytest.fail("the second event was never written")


async def test_who_finds_the_budget_spent_goes_to_the_fallback_at_once(store: Store) -> None:
    """Not only when something else happens."""
    now = time.time()
    row = {"scope": "a/b/c", "day": local_day(now)[0], "usd": 5.0, "tokens": 0}
    turn, book = make_turn(store, Budgets([Budget("a/*", 1.0, None)], [row]))
    choices = {0: [Choice("a/b/c"), Choice("d/e/f")]}
    job = await submit(store, book, make_job(1, scopes={1: "a/b/c"}, choices=choices))
    await turn.shown()
    assert job.sheets[1].scope == "d/e/f"


@pytest.mark.parametrize(("event", "state"), [("complete", "queued"), ("fail", "paused"), (None, "queued")])
async def test_a_job_whose_predecessor_ended_while_it_was_saved_is_let_go(
    store: Store, event: str | None, state: str
) -> None:
    turn, book = make_turn(store)
    first = await submit(store, book, make_job(1, 1))
    second = make_job(1, 2)
    second.after = first.id
    await submit(store, book, second)
    if event:
        book.change_job(first, event, 1.0)
        await turn.committed()
        assert first.id not in book.jobs
    await release_if_over(store, book, second)
    assert (second.state, second.after) == (state, "" if event == "complete" else first.id)


async def test_an_attempt_whose_score_cannot_be_read_is_told_so_and_does_not_run_for_ever(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, book = make_turn(store)
    job = await submit(store, book, make_job(1, full_attempts=1))
    await store.write([("replace_score", {"seq": job.seq, "score": "{}", "source": "", "environment": "{}"})])
    crew = Crew(book, Limits(book.journal), os.getpid())
    over: asyncio.Future[Attempt] = asyncio.get_running_loop().create_future()
    crew.on_over = over.set_result
    paths = Paths("", "", str(tmp_path), "", "")
    attempt = book.start(job, job.sheets[1], "worker", 1.0)
    Assigner(book, crew, Scores(store), Followers(crew.watch), store, paths, 1024).assign(attempt)
    assert await over is attempt
    assert "E402 cannot load its score" in job.sheets[1].reason
    assert not book.running


async def test_who_is_back_before_his_answer_is_on_disk_waits_for_it(store: Store) -> None:
    turn, book = make_turn(store)
    once, job = Once(store, turn), await submit(store, book, make_job(1))
    await store.write([("put_answer", {"key": "of yesterday", "at": 0.0, "answer": "{}"})])
    book.change_job(job, "pause", 1.0, "by hand")
    done: list[str] = []
    begun = asyncio.Event()

    async def handle() -> Answer:
        done.append("once")
        begun.set()
        return await once.commit("key", {"job": job.id})

    asking = asyncio.create_task(once.ask("key", handle))
    await begun.wait()
    asking.cancel()
    assert await once.ask("key", handle) == {"job": job.id}
    assert done == ["once"]
    row = await store.read_one("job_by_id", job=job.id)
    assert row
    assert row["state"] == "paused"
    for key in ("another", "", "", "of yesterday"):
        await once.ask(key, handle)
    assert done == ["once"] * 5


async def test_an_end_that_is_not_in_the_commit_under_way_is_not_told_with_it(store: Store) -> None:
    """Also when its row is made already, because somebody changes much bit by bit."""
    turn, book = make_turn(store)
    first, second = await submit(store, book, make_job(1, 1)), await submit(store, book, make_job(1, 2))
    told: list[tuple[str, str]] = []
    turn.on_settled = lambda job: told.append((job.id, book.journal.recent[-1].job or ""))
    book.change_job(first, "pause", 1.0)
    under_way = turn.committed()
    await asyncio.sleep(0)
    book.change_job(second, "pause", 2.0)
    await turn.collect()
    await under_way
    await turn.committed()
    assert told == [(first.id, first.id), (second.id, second.id)]
