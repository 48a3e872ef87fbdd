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
