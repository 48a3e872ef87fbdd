"""Finding jobs whose rows come and go: nobody gets hold of one that is not a job yet, or is none any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ipc.errors import MozartError
from ipc.states import Job as JobState
from mozartd.coordinator.book import Book
from mozartd.coordinator.registry import Registry
from mozartd.store.store import Store
from tests.unit.scenes import make_book, make_job


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(str(tmp_path / "mozart.db"))
    yield store
    await store.close()


async def with_job(store: Store, state: JobState) -> tuple[Registry, Book]:
    """A job on disk that the book does not have."""
    job = make_job(1)
    job.state = state
    await store.write([("put_job", job.row())])
    book = make_book()
    return Registry(book, store), book


async def test_a_job_that_is_being_submitted_is_not_found_before_it_is_one(store: Store) -> None:
    registry, book = await with_job(store, JobState.QUEUED)
    with pytest.raises(MozartError, match="cannot find a job 'job-1' yet"):
        await registry.find("job")
    book.add(make_job(1))
    assert await registry.find("job") is book.jobs["job-1"]


async def test_a_job_that_is_being_forgotten_is_not_brought_back_to_life(store: Store) -> None:
    registry, _ = await with_job(store, JobState.FAILED)
    assert (await registry.find_whole("job-1")).state is JobState.FAILED
    registry.forgetting.add("job-1")
    for find in (registry.find, registry.find_whole):
        with pytest.raises(MozartError, match="being forgotten"):
            await find("job-1")


async def test_a_prefix_does_not_end_in_a_jobs_number(store: Store) -> None:
    job = make_job(1, seq=12)
    job.state = JobState.COMPLETED
    await store.write([("put_job", job.row())])
    registry = Registry(make_book(), store)
    for typed in ("job-12", "job-", "jo"):
        assert (await registry.find(typed)).id == "job-12"
    with pytest.raises(MozartError, match="cannot find a job 'job-1'") as caught:
        await registry.find("job-1")
    assert "job-12" in caught.value.hint
