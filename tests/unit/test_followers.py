"""Followers: cursors on files, whole records only, every byte once; and where the last lines begin."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc.connection import Connection
from ipc.cri import MAX_CONTENT, MAX_RECORD, timestamp
from ipc.frames import FrameDecoder
from ipc.segments import Link
from ipc.states import Job as JobState
from mozartd.coordinator.followers import Cursor, Filter, Follower, Followers, Frames, end_of
from mozartd.coordinator.model import Attempt, Job
from mozartd.coordinator.reading import DAMAGED, WINDOW, tail_starts
from tests.unit.scenes import make_job


def record(content: bytes = b"line", full: bool = True, stream: bytes = b"stdout") -> bytes:
    return b"%s %s %s %s\n" % (timestamp(0), stream, b"F" if full else b"P", content)


RECORDS = st.lists(st.builds(record, st.binary(max_size=9).map(lambda data: data.replace(b"\n", b"")), st.booleans()))
TORN = st.sampled_from([b"", b"2026", record()[:-1], record(full=False)[:-3]])


def write(path: Path, *parts: bytes) -> str:
    path.write_bytes(b"".join(parts))
    return str(path)


# ---- tail ---------------------------------------------------------------------------------------------------------


def tail_offset(log: str, lines: int) -> int:
    """Of a log with one stream."""
    return tail_starts(log, lines)["stdout"]


def begins(records: list[bytes], lines: int) -> int:
    """Where the last lines begin, looked for from the front: a line ends with its F, or where the log does."""
    ends, position = [0], 0
    for one in records:
        position += len(one)
        if one.split(b" ", 3)[2] == b"F" or position == sum(map(len, records)):
            ends.append(position)
    return ends[max(0, len(ends) - 1 - lines)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "1.1.log"


@given(records=RECORDS, torn=TORN, lines=st.integers(0, 12))
def test_the_last_lines(log: Path, records: list[bytes], torn: bytes, lines: int) -> None:
    """Also of a log whose last record was torn by a crash: what is torn is no line."""
    assert tail_offset(write(log, *records, torn), lines) == begins(records, lines)


@settings(max_examples=20)
@given(sizes=st.lists(st.sampled_from([0, 100, MAX_CONTENT - 1, MAX_CONTENT]), max_size=25), lines=st.integers(0, 30),
       data=st.data())  # fmt: skip
def test_the_last_lines_of_a_long_log(log: Path, sizes: list[int], lines: int, data: st.DataObject) -> None:
    """Longer than what is read at a time, with parts of long lines on the border."""
    records = [record(b"x" * size, data.draw(st.booleans())) for size in sizes]
    assert tail_offset(write(log, *records), lines) == begins(records, lines)


def test_the_last_lines_of_nothing(tmp_path: Path) -> None:
    assert tail_offset(str(tmp_path / "absent.log"), 3) == 0
    assert tail_offset(write(tmp_path / "empty.log"), 3) == 0
    assert tail_offset(write(tmp_path / "torn.log", b"2026"), 3) == 0


# ---- cursors ------------------------------------------------------------------------------------------------------


def cursor(path: str, **fields: Any) -> Cursor:
    return Cursor(1, 1, path, "command", **fields)


def read_all(one: Cursor) -> list[bytes]:
    blocks = []
    while block := one.read():
        blocks.append(block)
        one.offset += len(block)
    one.close()
    return blocks


@given(records=RECORDS, torn=TORN)
def test_a_cursor_reads_whole_records(log: Path, records: list[bytes], torn: bytes) -> None:
    assert b"".join(read_all(cursor(write(log, *records, torn)))) == b"".join(records)


@given(records=RECORDS, data=st.data())
def test_a_cursor_goes_on_where_another_stopped(log: Path, records: list[bytes], data: st.DataObject) -> None:
    path = write(log, *records)
    cut = data.draw(st.integers(0, len(records)))
    rest = read_all(cursor(path, offset=sum(map(len, records[:cut]))))
    assert b"".join(rest) == b"".join(records[cut:])


def test_a_cursor_reads_what_is_written_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "1.1.log"
    one = cursor(str(path))
    assert one.read() == b"", "the file is not there yet"
    with path.open("wb", buffering=0) as file:
        file.write(record(b"a")[:10])
        assert one.read() == b""
        file.write(record(b"a")[10:] + record(b"b"))
        assert one.read() == record(b"a") + record(b"b")
    one.close()


def test_a_cursor_reads_a_window_at_a_time_that_holds_the_longest_record(tmp_path: Path) -> None:
    longest = record(b"x" * MAX_CONTENT, full=False, stream=b"stderr")
    assert len(longest) <= MAX_RECORD
    blocks = read_all(cursor(write(tmp_path / "1.1.log", longest * 20)))
    assert b"".join(blocks) == longest * 20
    assert all(len(block) <= WINDOW and len(block) % len(longest) == 0 for block in blocks)


def test_a_cursor_stops_where_it_is_told_to(tmp_path: Path) -> None:
    """For a reader who wants what is there and not what comes."""
    path = write(tmp_path / "1.1.log", record(b"a"), record(b"b"), record(b"c"))
    assert read_all(cursor(path, limit=2 * len(record(b"a")))) == [record(b"a") + record(b"b")]
    assert read_all(cursor(path, limit=2 * len(record(b"a")) - 1)) == [record(b"a")]
    assert read_all(cursor(path, limit=0)) == []


def test_a_cursor_follows_no_symlink(tmp_path: Path) -> None:
    write(tmp_path / "real.log", record())
    (tmp_path / "1.1.log").symlink_to(tmp_path / "real.log")
    followed = cursor(str(tmp_path / "1.1.log"))
    assert followed.read() == Link(0, 0, DAMAGED, is_lost=True)
    assert followed.read() == b"", "that is said once"


@pytest.mark.parametrize(
    ("sheet", "k", "takes"),
    [
        (None, None, [(1, 1), (1, 2), (2, 1)]),
        (1, None, [(1, 1), (1, 2)]),
        (1, 2, [(1, 2)]),
        (None, 1, [(1, 1), (2, 1)]),
    ],
)
def test_a_filter(sheet: int | None, k: int | None, takes: list[tuple[int, int]]) -> None:
    assert [one for one in [(1, 1), (1, 2), (2, 1)] if Filter(sheet, k).takes(*one)] == takes


def test_followers_at_the_same_place_share_a_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "1.1.log", record(b"a"))
    frames = Frames()
    one, two = cursor(path), cursor(path)
    first = frames.next("job-1", one)
    assert first is not None
    assert frames.next("job-1", two) is first
    write(tmp_path / "1.1.log", record(b"a"), record(b"b"))
    assert frames.next("job-1", cursor(path)) is first, "the rest comes next"
    one.offset = first[0]
    second = frames.next("job-1", one)
    assert second is not None
    assert second[0] == 2 * len(record(b"a"))
    assert frames.next("job-1", cursor(path, limit=0)) is None


# ---- a follower and its reader ------------------------------------------------------------------------------------


class Reader:
    """The other end of a follower's connection."""

    def __init__(self, connection: Connection, peer: socket.socket) -> None:
        self.connection = connection
        self._peer = peer
        self._decoder = FrameDecoder()
        self.got: list[dict[str, Any]] = []

    async def until(self, method: str, count: int = 1) -> list[dict[str, Any]]:
        """The params of what came, when so many of a method have."""
        loop = asyncio.get_running_loop()
        while sum(frame["method"] == method for frame in self.got) < count:
            self.got += self._decoder.feed(await asyncio.wait_for(loop.sock_recv(self._peer, 1 << 20), 10))
        return [frame["params"] for frame in self.got if frame["method"] == method]

    def text(self) -> bytes:
        chunks = [frame["params"] for frame in self.got if frame["method"] == "logs.chunk"]
        return b"".join(base64.b64decode(c["base64"]) if "base64" in c else c["text"].encode() for c in chunks)


@pytest_asyncio.fixture
async def reader() -> AsyncIterator[Reader]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    connection = Connection(lambda *_: None, lambda _: None)
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
    yield Reader(connection, theirs)
    connection.abort()
    theirs.close()


@pytest.fixture
def job() -> Job:
    one = make_job(3)
    one.state = JobState.RUNNING
    return one


def end_job(job: Job, state: JobState = JobState.COMPLETED) -> None:
    job.state, job.is_saved = state, True


def follow(reader: Reader, job: Job, live: bool = True, filter: Filter | None = None) -> Follower:
    return Follower(reader.connection, 7, job, filter or Filter(), live, Frames())


async def test_a_follower_sends_to_the_end_and_says_so(reader: Reader, job: Job, tmp_path: Path) -> None:
    path = write(tmp_path / "1.1.log", record(b"a"), record(b"b"))
    end_job(job, JobState.FAILED)
    job.reason = "sheet 1 failed"
    follower = follow(reader, job)
    follower.add(cursor(path, ended=True))
    await follower.run()
    (end,) = await reader.until("logs.end")
    assert end == {"subscription": 7, "job": "job-1", "state": "failed", "reason": "sheet 1 failed", "exit_code": 1}
    (chunk,) = await reader.until("logs.chunk")
    assert chunk == {
        "subscription": 7, "job": "job-1", "sheet": 1, "attempt": 1, "offset": 0, "end": 2 * len(record(b"a")),
        "backend": "command", "text": (record(b"a") + record(b"b")).decode(),
    }  # fmt: skip


async def test_bytes_that_are_no_text_come_as_base64(reader: Reader, job: Job, tmp_path: Path) -> None:
    content = record(b"\xff\xfe\x00\x80")
    end_job(job)
    follower = follow(reader, job)
    follower.add(cursor(write(tmp_path / "1.1.log", content), ended=True))
    await follower.run()
    await reader.until("logs.end")
    (chunk,) = await reader.until("logs.chunk")
    assert "text" not in chunk
    assert reader.text() == content


async def test_ended_logs_are_sent_one_after_the_other_and_closed(reader: Reader, job: Job, tmp_path: Path) -> None:
    end_job(job)
    follower = follow(reader, job)
    before = len(os.listdir("/proc/self/fd"))
    for n in (1, 2, 3):
        path = write(tmp_path / f"{n}.1.log", record(b"%d" % n) * 20_000)
        follower.add(Cursor(n, 1, path, "command", ended=True))
    running = asyncio.create_task(follower.run())
    chunks = await reader.until("logs.end") and await reader.until("logs.chunk")
    await running
    assert [chunk["sheet"] for chunk in chunks] == sorted(chunk["sheet"] for chunk in chunks)
    assert len(chunks) > 3
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_live_follower_sends_what_grows(reader: Reader, job: Job, tmp_path: Path) -> None:
    follower = follow(reader, job)
    running = asyncio.create_task(follower.run())
    await asyncio.sleep(0)
    path = write(tmp_path / "1.1.log", record(b"a"))
    follower.add(cursor(path))
    await reader.until("logs.chunk")
    write(tmp_path / "1.1.log", record(b"a"), record(b"b"))
    follower.wake()
    await reader.until("logs.chunk", 2)
    follower.mark_ended(1, 1)
    end_job(job)
    follower.wake()
    await reader.until("logs.end")
    await running
    assert reader.text() == record(b"a") + record(b"b")


async def test_an_end_that_is_not_on_disk_is_not_told(reader: Reader, job: Job, tmp_path: Path) -> None:
    job.state = JobState.COMPLETED
    follower = follow(reader, job)
    running = asyncio.create_task(follower.run())
    follower.add(cursor(write(tmp_path / "1.1.log", record(b"a"))))
    await reader.until("logs.chunk")
    assert not running.done()
    job.is_saved = True
    follower.wake()
    await reader.until("logs.end")
    await running


async def test_what_is_there_is_sent_without_waiting_for_more(reader: Reader, job: Job, tmp_path: Path) -> None:
    """Not live, of an agent that writes faster than the reader reads: it ends all the same."""
    path = tmp_path / "1.1.log"
    write(path, record(b"a") * 20_000)
    follower = follow(reader, job, live=False)
    follower.add(cursor(str(path)))
    follower.stop_at_present_ends()

    async def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while True:
                file.write(record(b"a") * 5000)
                await asyncio.sleep(0)

    growing = asyncio.create_task(grow())
    running = asyncio.create_task(follower.run())
    (end,) = await reader.until("logs.end")
    growing.cancel()
    await running
    assert end["exit_code"] == 0
    assert reader.text() == record(b"a") * 20_000


async def test_a_lost_reader_ends_its_follower(reader: Reader, job: Job, tmp_path: Path) -> None:
    follower = follow(reader, job)
    follower.add(cursor(write(tmp_path / "1.1.log", record(b"x" * MAX_CONTENT) * 200)))
    running = asyncio.create_task(follower.run())
    await reader.until("logs.chunk")
    reader.connection.abort()
    await asyncio.wait_for(running, 10)


async def test_a_slow_reader_gets_everything_at_its_pace(reader: Reader, job: Job, tmp_path: Path) -> None:
    content = record(b"x" * 1000) * 8000
    end_job(job)
    follower = follow(reader, job)
    follower.add(cursor(write(tmp_path / "1.1.log", content), ended=True))
    running = asyncio.create_task(follower.run())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not running.done()
    assert reader.connection.unsent <= Connection.HIGH + 2 * WINDOW, "what nobody reads is not read from disk"
    await reader.until("logs.end")
    await running
    assert reader.text() == content


# ---- all of them --------------------------------------------------------------------------------------------------


def attempt(n: int, k: int = 1) -> Attempt:
    return Attempt(1, "job-1", n, k, "normal", "w", 0.0)


def test_workers_are_asked_while_somebody_watches(job: Job) -> None:
    asked: list[tuple[str, bool]] = []
    followers = Followers(lambda id, on: asked.append((id, on)))
    connection = Connection(lambda *_: None, lambda _: None)
    one, two = (Follower(connection, n, job, Filter(sheet=1), True, followers.frames) for n in (1, 2))
    followers.enrol(one)
    followers.watch(one, [attempt(1), attempt(2)])
    assert asked == [("job-1:1:1", True)]
    assert followers.is_watched(attempt(1))
    assert not followers.is_watched(attempt(2))
    followers.enrol(two)
    assert len(followers) == 2
    followers.dismiss(one)
    assert len(asked) == 1, "another one still watches"
    followers.dismiss(two)
    assert asked[1:] == [("job-1:1:1", False)]
    assert len(followers) == 0


def test_a_new_attempt_is_told_to_those_who_want_it(job: Job) -> None:
    followers = Followers(lambda id, on: None)
    connection = Connection(lambda *_: None, lambda _: None)
    everything = Follower(connection, 1, job, Filter(), True, followers.frames)
    second = Follower(connection, 2, job, Filter(sheet=2), True, followers.frames)
    for follower in (everything, second):
        followers.enrol(follower)
    followers.started(attempt(1), "/log", {"type": "command"})
    assert everything.open_logs() == [(1, 1)]
    assert second.open_logs() == []


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 1), ("cancelled", 3), ("paused", 3)])
def test_the_end_of_a_stream_is_its_jobs(job: Job, state: str, code: int) -> None:
    job.state = JobState(state)
    assert end_of(job) == {"job": "job-1", "state": state, "reason": "", "exit_code": code}
