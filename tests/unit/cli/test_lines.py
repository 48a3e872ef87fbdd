"""What `mozart logs` makes of CRI records: every byte once, lines whole, however the records and chunks are cut."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import lines
from cli.lines import ALL, HELD, Fragment, Key, Plain, Prefixed, Selection, Text
from ipc import cri
from ipc.messages import Chunk

Write = tuple[int, str, bytes]
"""(sheet, stream, bytes without a newline or one newline at the end)"""


def record(number: int, stream: str, data: bytes) -> bytes:
    full = data.endswith(b"\n")
    return b"%s %s %s %s\n" % (cri.timestamp(number), stream.encode(), b"F" if full else b"P", data.removesuffix(b"\n"))


def chunk_of(data: bytes, sheet: int = 1, attempt: int = 1, offset: int = 0, backend: str = "command") -> Chunk:
    chunk: dict[str, Any] = {
        "subscription": 1, "job": "song-1", "sheet": sheet, "attempt": attempt, "offset": offset,
        "end": offset + len(data), "backend": backend,
    }  # fmt: skip
    try:
        chunk["text"] = data.decode()
    except UnicodeDecodeError:
        chunk["base64"] = base64.b64encode(data).decode()
    return chunk  # type: ignore[return-value]


def chunked(writes: list[Write], sizes: list[int]) -> Iterator[Chunk]:
    """The writes as records, `sizes` of one sheet's records to a chunk."""
    offsets: dict[int, int] = {}
    counts = itertools.cycle(sizes)
    numbers = itertools.count(1)
    for sheet, group in itertools.groupby(writes, key=lambda write: write[0]):
        records = [record(next(numbers), stream, data) for _, stream, data in group]
        while records:
            n = next(counts)
            data, records = b"".join(records[:n]), records[n:]
            yield chunk_of(data, sheet, offset=offsets.get(sheet, 0))
            offsets[sheet] = offsets.get(sheet, 0) + len(data)


def shown(chunks: Iterator[Chunk], sink: lines.Sink, selection: Selection = ALL, timestamps: bool = False) -> bytes:
    text = Text(lambda _backend, _profile: None, selection, timestamps)
    parts = [sink.put(fragment) for chunk in chunks for fragment in text.feed(chunk)]
    return b"".join([*parts, *map(sink.put, text.finish()), sink.finish()])


def written(writes: list[Write], sheet: int | None = None, stream: str | None = None) -> bytes:
    return b"".join(data for s, t, data in writes if sheet in (None, s) and stream in (None, t))


# Words that look like records' heads, and bytes that no text has.
words = st.sampled_from([
    b"", b"x", b"a stdout P b", b" stderr F ", b"2026-11-23T02:15:06.123456789Z stdout P no", b"\xff\x00", "über".encode(),
])  # fmt: skip
ends = st.sampled_from([b"", b"\n"])
content = st.builds(lambda parts, end: b"".join(parts) + end, st.lists(words, max_size=3), ends).filter(len)
streams = st.sampled_from(["stdout", "stderr"])
one_sheet = st.lists(st.tuples(st.just(1), streams, content), max_size=30)
sheets = st.lists(st.tuples(st.integers(1, 3), streams, content), max_size=40)
sizes = st.lists(st.integers(1, 7), min_size=1, max_size=5)


@given(writes=one_sheet, cuts=sizes)
def test_raw_is_every_byte_in_order(writes: list[Write], cuts: list[int]) -> None:
    assert shown(chunked(writes, cuts), Plain(exact=True)) == written(writes)


@given(writes=one_sheet, cuts=sizes, stream=streams)
def test_one_stream_is_its_bytes(writes: list[Write], cuts: list[int], stream: str) -> None:
    assert shown(chunked(writes, cuts), Plain(exact=True), Selection(stream)) == written(writes, stream=stream)


@given(writes=one_sheet, cuts=sizes)
def test_plain_adds_newlines_alone(writes: list[Write], cuts: list[int]) -> None:
    found = shown(chunked(writes, cuts), Plain())
    assert found.replace(b"\n", b"") == written(writes).replace(b"\n", b"")
    assert found.count(b"\n") >= written(writes).count(b"\n")
    assert not found or found.endswith(b"\n")


def ended(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"


@given(writes=sheets, cuts=sizes)
def test_prefixed_lines_are_whole(writes: list[Write], cuts: list[int]) -> None:
    """Each stream's lines come out as they are, in order, none mixed with another's."""
    only = [(sheet, "stdout", data) for sheet, _, data in writes]
    found = shown(chunked(only, cuts), Prefixed(lambda sheet, attempt: b"[%d.%d] " % (sheet, attempt)))
    for sheet in (1, 2, 3):
        own = [
            line.removeprefix(b"[%d.1] " % sheet) for line in found.split(b"\n") if line.startswith(b"[%d.1] " % sheet)
        ]
        assert b"".join(line + b"\n" for line in own) == ended(written(only, sheet))


@given(writes=sheets, cuts=sizes)
def test_prefixed_lines_of_two_streams_never_mix(writes: list[Write], cuts: list[int]) -> None:
    found = shown(chunked(writes, cuts), Prefixed(lambda sheet, attempt: b"[%d] " % sheet)).split(b"\n")[:-1]
    wanted = [
        b"[%d] %s" % (sheet, line)
        for sheet in (1, 2, 3)
        for stream in ("stdout", "stderr")
        for line in ended(written(writes, sheet, stream)).split(b"\n")[:-1]
    ]
    assert sorted(found) == sorted(wanted)


@given(writes=one_sheet, cuts=sizes)
def test_timestamps_stand_before_every_line(writes: list[Write], cuts: list[int]) -> None:
    only = [(1, "stdout", data) for _, _, data in writes]
    found = shown(chunked(only, cuts), Plain(), timestamps=True)
    wanted = ended(written(only))
    assert re.sub(rb"(?m)^1970-01-01T00:00:00\.\d{9}Z ", b"", found) == wanted
    assert len(re.findall(rb"(?m)^1970-01-01T00:00:00\.\d{9}Z ", found)) >= wanted.count(b"\n")


@given(writes=one_sheet, cuts=sizes)
def test_json_offsets_lie_where_the_records_lie(writes: list[Write], cuts: list[int]) -> None:
    log = b"".join(record(number, stream, data) for number, (_, stream, data) in enumerate(writes, 1))
    found = [one for chunk in chunked(writes, cuts) for one in lines.json_records(chunk, ALL)]
    assert len(found) == len(writes)
    for one, (_, stream, data) in zip(found, writes, strict=True):
        at = log[one["offset"] : log.index(b"\n", one["offset"])]
        stamp, _, rest = at.partition(b" ")
        assert rest.startswith(one["stream"].encode())
        assert one["time"].encode() == stamp[:23] + b"Z", "milliseconds, as all times for scripts"
        line = base64.b64decode(one["base64"]) if "base64" in one else one["line"].encode()
        assert (one["stream"], line) == (stream, data.removesuffix(b"\n"))
        assert one.get("partial", False) is not data.endswith(b"\n")


@given(writes=one_sheet, cuts=sizes, since=st.integers(0, 32))
def test_since_leaves_out_what_is_older(writes: list[Write], cuts: list[int], since: int) -> None:
    selection = Selection(None, cri.timestamp(since))
    newer = writes[max(since - 1, 0) :]
    assert shown(chunked(writes, cuts), Plain(exact=True), selection) == written(newer)


def test_an_open_line_ends_before_another_stream_speaks() -> None:
    writes = [(1, "stdout", b"Password: "), (1, "stderr", b"no terminal\n"), (1, "stdout", b"ok\n")]
    assert shown(chunked(writes, [1]), Plain()) == b"Password: \nno terminal\nok\n"


def test_a_line_without_end_comes_in_pieces() -> None:
    sink = Prefixed(lambda sheet, _attempt: b"[%d] " % sheet)
    long = b"x" * (HELD // 2)
    got = [sink.put(Fragment(Key(1, 1, "stdout"), long)) for _ in range(3)]
    assert got == [b"", b"", b"[1] " + long * 3 + b"\n"]
    assert dict(sink.open_lines()) == {}


def test_what_is_held_can_be_seen() -> None:
    sink = Prefixed(lambda _sheet, _attempt: b"")
    assert sink.put(Fragment(Key(2, 1, ""), b"one\ntw")) == b"one\n"
    assert dict(sink.open_lines()) == {Key(2, 1, ""): b"tw"}
    assert sink.finish() == b"tw\n"


class Shouting:
    """A renderer with a memory: numbers its lines, leaves the last one open."""

    def __init__(self) -> None:
        self.count = 0

    def feed(self, stream: str, line: bytes) -> str:
        self.count += 1
        return "" if line == b"skip" else f"{self.count}:{line.decode().upper()}\n"

    def finish(self) -> str:
        return f"{self.count} lines"


def test_a_renderer_gets_whole_lines_of_its_own_attempt() -> None:
    text = Text(lambda backend, _profile: Shouting() if backend == "loud" else None, ALL)
    first = record(1, "stdout", b"be") + record(2, "stderr", b"warn\n") + record(3, "stdout", b"gin\n")
    second = record(4, "stdout", b"skip\n") + record(5, "stdout", b"end\n")
    sink = Plain()
    chunks = [chunk_of(first, backend="loud"), chunk_of(second, 1, 2, backend="loud")]
    got = b"".join(sink.put(fragment) for chunk in chunks for fragment in text.feed(chunk))
    assert got == b"1:WARN\n2:BEGIN\n2 lines\n2:END\n"
    assert b"".join(map(sink.put, text.finish())) + sink.finish() == b"2 lines\n"


def test_rendered_lines_have_the_time_of_their_record() -> None:
    text = Text(lambda _backend, _profile: Shouting(), ALL, timestamps=True)
    data = record(1_000_000_000, "stdout", b"a\n") + record(2_000_000_000, "stdout", b"b\n")
    (fragment,) = text.feed(chunk_of(data))
    assert fragment.data == b"1970-01-01T00:00:01.000000000Z 1:A\n1970-01-01T00:00:02.000000000Z 2:B\n"


@pytest.mark.parametrize("size", [lines.LINE_CAP - 1, lines.LINE_CAP + 7])
def test_a_renderer_gets_no_more_than_the_cap(size: int) -> None:
    seen: list[int] = []

    class Measure(Shouting):
        def feed(self, stream: str, line: bytes) -> str:
            seen.append(len(line))
            return ""

    text = Text(lambda _backend, _profile: Measure(), ALL)
    part = cri.MAX_CONTENT
    data = b"y" * size + b"\n"
    for number, start in enumerate(range(0, len(data), part)):
        list(text.feed(chunk_of(record(number, "stdout", data[start : start + part]))))
    assert seen == [min(size, lines.LINE_CAP)]
