"""The store, over real SQLite files: what is written is on disk, and one bad write takes nobody else's down."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ipc.errors import MozartError
from mozartd.coordinator.journal import Event
from mozartd.store.statements import load_migrations, load_statements, parse_statements
from mozartd.store.store import Store, Write
from tests.process.daemon import wait_until
from tests.unit.scenes import chain, make_job


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "mozart.db")


@pytest_asyncio.fixture
async def store(path: str) -> AsyncIterator[Store]:
    opened = await Store.open(path)
    yield opened
    await opened.close()


@pytest.fixture
def read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)


def job_rows(seq: int, sheets: int = 1) -> list[Write]:
    job = make_job(chain(sheets), seq)
    return [("put_job", job.row()), *(("put_sheet", sheet.row(seq)) for sheet in job.sheets.values())]


def event(id: int, **fields: Any) -> Write:
    return "put_event", Event(
        **{"id": id, "at": 1.0, "type": "t", "job": None, "sheet": None, "attempt": None, "data": {}, **fields}
    ).row()


def orphan() -> Write:
    """A sheet of a job that is not there: the foreign key refuses it."""
    return "put_sheet", make_job(1).sheets[1].row(99)


# ---- what is written --------------------------------------------------------------------------------------------


async def test_what_is_written_is_read_also_by_the_next_process(store: Store, path: str) -> None:
    await store.write(job_rows(1, 3))
    assert [row["n"] for row in await store.read("sheets_of", seq=1, after=0, limit=-1)] == [1, 2, 3]
    await store.close()
    again = await Store.open(path)
    found = await again.read_one("job_by_id", job="job-1")
    await again.close()
    assert found is not None
    assert found["seq"] == 1


async def test_it_is_on_disk_when_the_future_is_done(store: Store, path: str) -> None:
    """Seen by another connection, not only by our own."""
    await store.write(job_rows(1))
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT id FROM jobs").fetchall() == [("job-1",)]
    other.close()


async def test_writes_keep_their_order(store: Store) -> None:
    futures = []
    for k in range(1, 6):
        row = make_job(1).sheets[1].row(1)
        futures.append(store.write([*(job_rows(1) if k == 1 else []), ("put_sheet", {**row, "k": k})]))
    await asyncio.gather(*futures)
    (row,) = await store.read("sheets_of", seq=1, after=0, limit=-1)
    assert row["k"] == 5


def size_of(path: str) -> int:
    return os.stat(path).st_size


async def test_what_is_queued_meanwhile_shares_the_next_transaction(store: Store, path: str) -> None:
    """Ten transactions at most for a thousand writes: seen in the pages that WAL has grown by, without asking the store."""
    await store.write(job_rows(1))
    before = size_of(path + "-wal")
    await asyncio.gather(*(store.write([event(n)]) for n in range(1, 1001)))
    pages = (size_of(path + "-wal") - before) / 4120
    assert pages < 200, "one page at least for each transaction"
    assert len(await store.read("events_since", since=0, limit=5000)) == 1000


async def test_one_bad_batch_takes_no_other_down(store: Store) -> None:
    futures = [store.write(job_rows(seq)) for seq in (1, 2)]
    futures.append(store.write([*job_rows(3), orphan()]))
    futures += [store.write(job_rows(seq)) for seq in (4, 5)]
    done = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(one) for one in done] == [type(None), type(None), MozartError, type(None), type(None)]
    assert isinstance(done[2], MozartError)
    assert done[2].code == "E403"
    assert [row["seq"] for row in await store.read("unfinished_jobs")] == [1, 2, 4, 5], "nothing of the bad one stays"


@pytest.mark.parametrize(
    "bad",
    [
        event(2**63),
        event(1, type="\ud800"),
        event(1, at="not a number"),
        event(1, type=object()),
        ("put_event", {"id": 1}),
    ],
    ids=["too large", "a lone surrogate", "of another type", "of no type", "incomplete"],
)
async def test_a_row_that_sqlite_cannot_take_is_only_its_writers_trouble(store: Store, bad: Write) -> None:
    first, second = store.write([bad]), store.write(job_rows(1))
    with pytest.raises(MozartError, match="cannot save"):
        await asyncio.wait_for(first, 5)
    await asyncio.wait_for(second, 5)
    await asyncio.wait_for(store.write(job_rows(2)), 5)


async def test_a_writer_that_gives_up_waiting_disturbs_nobody(store: Store) -> None:
    first, second = store.write(job_rows(1)), store.write(job_rows(2))
    first.cancel()
    await second
    assert len(await store.read("unfinished_jobs")) == 2


async def test_close_writes_what_is_queued(path: str) -> None:
    store = await Store.open(path)
    future = store.write(job_rows(1))
    await store.close()
    assert future.done()
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT COUNT(*) FROM jobs").fetchone() == (1,)
    other.close()


async def test_a_locked_database_is_an_error_and_then_works_again(store: Store, path: str) -> None:
    """Longer than busy_timeout: the disk does not take it, and later does."""
    await store._database.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(MozartError, match="locked"):
        await store.write(job_rows(1))
    other.execute("ROLLBACK")
    other.close()
    await store.write(job_rows(1))


async def test_a_full_disk_is_an_error_with_a_hint_and_then_works_again(store: Store) -> None:
    (row,) = await store._database.execute_fetchall("PRAGMA page_count")
    await store._database.execute(f"PRAGMA max_page_count = {row[0]}")
    with pytest.raises(MozartError, match="full") as caught:
        await store.write(job_rows(1, 2000))
    assert "room" in caught.value.hint
    await store._database.execute("PRAGMA max_page_count = 1000000")
    await store.write(job_rows(1, 2000))


async def test_numbers_are_never_given_twice(store: Store) -> None:
    await store.write([*job_rows(7), event(41)])
    await store.write([("drop_job", {"seq": 7})])
    assert await store.read_one("last_ids") == {"job": 7, "event": 41}


async def test_a_job_takes_its_rows_along(store: Store) -> None:
    score = {"seq": 1, "score": "{}", "source": "", "environment": "{}"}
    await store.write([*job_rows(1, 3), ("put_score", score)])
    await store.write([("drop_job", {"seq": 1})])
    assert await store.read("sheets_of", seq=1, after=0, limit=-1) == []
    assert await store.read_one("score_of", seq=1) is None


# ---- opening ----------------------------------------------------------------------------------------------------


async def pragma(store: Store, name: str) -> Any:
    (row,) = await store._database.execute_fetchall(f"PRAGMA {name}")
    return row[0]


async def test_what_is_acknowledged_survives_a_power_cut(store: Store) -> None:
    assert await pragma(store, "journal_mode") == "wal"
    assert await pragma(store, "synchronous") == 2, "FULL"
    assert await pragma(store, "foreign_keys") == 1


async def test_an_empty_file_gets_every_migration(store: Store) -> None:
    assert await pragma(store, "user_version") == len(load_migrations())
    assert await store.read_one("last_ids") == {"job": 0, "event": 0}


async def test_opening_again_changes_nothing(store: Store, path: str) -> None:
    await store.write(job_rows(1))
    await store.close()
    for _ in range(2):
        again = await Store.open(path)
        assert await pragma(again, "user_version") == len(load_migrations())
        assert len(await again.read("unfinished_jobs")) == 1
        await again.close()


async def refusal(path: str, code: str) -> str:
    with pytest.raises(MozartError) as caught:
        await Store.open(path)
    assert caught.value.code == code
    assert path in caught.value.message
    # Its thread says that it is done a moment before it is gone.
    wait_until(lambda: not [thread for thread in threading.enumerate() if "_connection_worker" in thread.name])
    return str(caught.value)


async def test_a_database_of_a_newer_mozart_is_refused_and_left_as_it_is(store: Store, path: str) -> None:
    newer = len(load_migrations()) + 1
    await store._database.execute(f"PRAGMA user_version = {newer}")
    await store.close()
    assert f"it has version {newer}" in await refusal(path, "E404")
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (newer,)
    other.close()


def write_bytes(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def read_bytes(path: str) -> bytes:
    return Path(path).read_bytes()


@pytest.mark.parametrize("content", [b"this is no database\n" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: str, content: bytes) -> None:
    write_bytes(path, content)
    assert "backup" in await refusal(path, "E401")
    assert read_bytes(path) == content


async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    await refusal(str(tmp_path / "file" / "mozart.db"), "E402")
    await refusal(str(tmp_path), "E402")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_directory_is_refused(path: str, read_only: None) -> None:
    await refusal(path, "E402")


async def test_a_refusal_leaves_no_thread_and_no_descriptor(path: str) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    write_bytes(path, b"this is no database\n" * 100)
    for _ in range(3):
        await refusal(path, "E401")
        await refusal(f"{path}/below a file", "E402")
    assert len(os.listdir("/proc/self/fd")) == descriptors


# ---- statements -------------------------------------------------------------------------------------------------


def test_statements_are_named_and_described() -> None:
    text = "-- name: one\n-- Does one.\nSELECT 1;\n\n-- name: two\n-- Does two.\nSELECT 2\n  FROM t;\n"
    assert parse_statements(text) == {"one": "SELECT 1;", "two": "SELECT 2\n  FROM t;"}


def test_a_name_given_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="one"):
        parse_statements("-- name: one\n-- A.\nSELECT 1;\n-- name: one\n-- B.\nSELECT 2;\n")


@pytest.mark.parametrize("name", sorted(load_statements()))
async def test_every_statement_compiles(store: Store, name: str) -> None:
    statement = load_statements()[name]
    values = dict.fromkeys(re.findall(r":(\w+)", statement))
    assert await store._database.execute_fetchall(f"EXPLAIN {statement}", values)
