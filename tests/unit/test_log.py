"""Records of a log, the end of an output, lines for a parser: pure parts against plain definitions of them."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import stat
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipc import cri
from workers import utf8
from workers.log import Log, encode
from workers.tail import LONGEST_LINE, Lines, Tail

WHEN = b"2026-11-23T02:15:06.123456789Z"

#: Texts whose lines are around the longest record, with and without characters of several bytes.
lines = st.one_of(
    st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")),
    st.tuples(
        st.integers(0, 2),
        st.integers(-4, 4),
        st.sampled_from([b"x", "é".encode(), "→".encode(), "😀".encode(), b"\x80"]),
    ).map(lambda t: (t[2] * cri.MAX_CONTENT)[: t[0] * cri.MAX_CONTENT + t[1]]),
)
texts = st.tuples(st.lists(lines, max_size=5), st.sampled_from([b"", b"\n"])).map(lambda t: b"\n".join(t[0]) + t[1])


def encoded(text: bytes, stream: bytes = cri.STDOUT) -> tuple[bytes, int]:
    buffers, count = encode(stream, WHEN, text, 0, len(text))
    return b"".join(buffers), count


def encoded_within(before: bytes, text: bytes, behind: bytes) -> tuple[bytes, int]:
    """The same text in the middle of a block."""
    buffers, count = encode(cri.STDOUT, WHEN, before + text + behind, len(before), len(before + text))
    return b"".join(buffers), count


@given(texts)
@example(b"")
@example(b"\n")
@example(b"a\nb")
@example(b"x" * cri.MAX_CONTENT + b"\n")
@example(b"x" * (cri.MAX_CONTENT + 1))
def test_what_is_encoded_comes_back(text: bytes) -> None:
    block, count = encoded(text)
    assert count == text.count(b"\n")
    records = list(cri.records(block))
    assert b"".join(record.content + (b"\n" if record.full else b"") for record in records) == text
    assert all(record.time == WHEN and record.stream == cri.STDOUT for record in records)
    assert all(len(record.content) <= cri.MAX_CONTENT for record in records)
    assert not block or block.endswith(b"\n")


@given(st.sampled_from([b"", b"\n", b"before\n"]), texts, st.sampled_from([b"", b"behind"]))
def test_what_surrounds_a_text_is_left_out(before: bytes, text: bytes, behind: bytes) -> None:
    assert encoded_within(before, text, behind) == encoded(text)


@given(st.lists(texts, max_size=4))
def test_texts_behind_one_another_are_one(parts: list[bytes]) -> None:
    block = b"".join(encoded(part, cri.STDERR)[0] for part in parts)
    content = b"".join(record.content + (b"\n" if record.full else b"") for record in cri.records(block))
    assert content == b"".join(parts)


def test_a_record_reads_as_documented() -> None:
    assert encoded(b"one\ntwo") == (WHEN + b" stdout F one\n" + WHEN + b" stdout P two\n", 1)


@given(st.text(), st.integers(0, 400))
def test_no_character_is_cut(text: str, end: int) -> None:
    data = text.encode()
    border = utf8.border(data, min(end, len(data)))
    data[:border].decode()
    assert min(end, len(data)) - border < 4


@given(st.binary(max_size=12), st.integers(0, 12))
def test_bytes_that_are_no_characters_are_cut_too(data: bytes, end: int) -> None:
    end = min(end, len(data))
    assert 0 <= end - utf8.border(data, end) < 4


# ---- the end of an output, and its lines ----------------------------------------------------------------------------

blocks = st.lists(st.binary(min_size=1, max_size=30), max_size=200)


@given(blocks, st.integers(1, 50), st.integers(0, 60))
def test_a_tail_is_the_end(parts: list[bytes], most: int, count: int) -> None:
    tail = Tail(most)
    for part in parts:
        tail.add(b"_" + part + b"_", 1, len(part) + 1)
    wanted = min(most, count)
    assert tail.last(count) == (b"".join(parts)[-wanted:] if wanted else b"")


def test_a_tail_does_not_grow() -> None:
    tail = Tail(100)
    for _ in range(10_000):
        tail.add(b"x", 0, 1)
    assert tail._held < 200
    assert len(tail._blocks) <= 65


@given(st.lists(st.sampled_from([b"a", b"\n", b"bc\nd", b"\n\n", b"\0\xff"]), max_size=20))
def test_lines_are_those_of_the_whole(parts: list[bytes]) -> None:
    cutter = Lines()
    found = [line for part in parts for line in cutter.feed(part)] + cutter.finish()
    expected = b"".join(parts).split(b"\n")
    assert found == (expected if expected[-1] else expected[:-1])


@pytest.mark.parametrize("size", [1000, LONGEST_LINE - 1, LONGEST_LINE, 3 * LONGEST_LINE])
def test_of_a_very_long_line_the_beginning_is_given(size: int) -> None:
    text = b"before\n" + b"x" * size + b"\nafter"
    for step in (len(text), 1024 * 1024):
        cutter = Lines()
        found = [line for start in range(0, len(text), step) for line in cutter.feed(text[start : start + step])]
        assert found + cutter.finish() == [b"before", b"x" * min(size, LONGEST_LINE), b"after"]


# ---- the file -------------------------------------------------------------------------------------------------------


def test_a_log_is_private_and_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "new" / "1.1.log"
    log = Log(str(path))
    for expected in (b"one\n", b"one\none\n"):
        assert log.append([b"o", memoryview(b"ne\n")])
        assert log.size == len(expected)
        asyncio.run(log.sync())
        assert path.read_bytes() == expected
    log.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(FileExistsError):
        Log(str(path))


def test_a_full_disk_is_kept_as_the_error(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "1.1.log"))
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), log._fd)
    assert not log.append([b"record\n"])
    assert log.error is not None
    assert log.error.strerror == os.strerror(28)
    assert log.size == 0
    assert not log.append([b"record\n"])
    asyncio.run(log.sync())
    log.close()


def sizes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in directory.iterdir()}


async def test_a_log_goes_on_in_segments_that_are_named_by_where_they_begin(tmp_path: Path) -> None:
    begun: list[int] = []
    log = Log(str(tmp_path / "1.1.log"), 100, begun.append)
    record = b"x" * 59 + b"\n"
    assert all(log.append([record]) for _ in range(5))
    await log.sync()
    log.close()
    assert begun == [120, 240]
    assert sizes(tmp_path) == {"1.1.log": 120, "1.1.120.log": 120, "1.1.240.log": 60}
    assert log.size == 300


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    """A file where the next segment should be."""
    path = tmp_path / "1.1.120.log"
    path.write_bytes(b"somebody's")
    return path


async def test_a_log_that_cannot_begin_a_segment_goes_on_in_the_one_it_has(tmp_path: Path, taken: Path) -> None:
    log = Log(str(tmp_path / "1.1.log"), 100)
    assert all(log.append([b"x" * 59 + b"\n"]) for _ in range(4))
    log.close()
    assert sizes(tmp_path) == {"1.1.log": 180, "1.1.180.log": 60, taken.name: 10}, "tried again at the next border"


async def test_a_full_disk_leaves_whole_records_in_the_last_segment(tmp_path: Path) -> None:
    """A limit on a file's size is a disk that takes only a part."""
    log = Log(str(tmp_path / "1.1.log"), 100)
    assert log.append([b"x" * 119 + b"\n"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70, hard))
    try:
        assert not log.append([(b"y" * 29 + b"\n") * 4])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    await log.sync()
    log.close()
    assert sizes(tmp_path) == {"1.1.log": 120, "1.1.120.log": 60}, "two whole records of four"
    assert log.size == 180
