"""Logical offsets and the files that hold them: any chain of segments, plain, compressed and gone, reads as one log."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc.cri import MAX_CONTENT
from ipc.segments import (
    GONE,
    LOG,
    PACKED,
    SEGMENT_BYTES,
    Link,
    Name,
    end_of,
    first_of,
    links,
    parse_name,
    path_of,
    seek,
)
from mozartd.coordinator import shelf
from mozartd.coordinator.packed import MEMBER_BYTES
from mozartd.coordinator.reading import DAMAGED, TORN, LogReader, log_end, tail_starts
from tests.unit.test_followers import begins, record

KINDS = st.sampled_from([LOG, PACKED, GONE])

# ---- names ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(0, 2**60), KINDS)
def test_a_name_says_what_it_holds(sheet: int, k: int, start: int, kind: str) -> None:
    path = path_of(f"/logs/job-1/{sheet}.{k}.log", start, kind)
    assert parse_name(os.path.basename(path)) == Name(sheet, k, start, kind)


@pytest.mark.parametrize(
    "name", ["1.1.prompt", "1.1.log.spool", "1.log", "1.1.0.log", "1.1.log.gz.tmp", "1.1.07.log", "x.1.log"]
)
def test_other_files_are_no_logs(name: str) -> None:
    assert parse_name(name) is None


# ---- offsets --------------------------------------------------------------------------------------------------------

CHAINS = st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=8)


def chain_of(sizes: list[tuple[int, bool]]) -> dict[int, Link]:
    found, start = {}, 0
    for size, gone in sizes:
        found[start] = Link(start, start + size, "why" if gone else "")
        start += size
    return found


@given(CHAINS, st.integers(0, 80), st.booleans())
def test_every_offset_lies_in_one_link(sizes: list[tuple[int, bool]], offset: int, begun: bool) -> None:
    chain = chain_of(sizes)
    end = sum(size for size, _ in sizes)
    if begun:
        chain[end] = Link(end, end)  # a writer has only just begun its next segment
    assert list(links(chain.get)) == list(chain.values())
    assert end_of(chain.get) == end
    present = [link.start for link in chain.values() if not link.why]
    assert first_of(chain.get) == (present[0] if present else end)
    found = seek(chain.get, offset)
    if offset < end:
        assert found is not None
        assert found.start <= offset < found.end
    else:
        assert found == (chain.get(end) if offset == end else None)


# ---- files ----------------------------------------------------------------------------------------------------------


def rest(worked: float) -> bool:
    return False


def lay_out(directory: Path, parts: list[tuple[list[bytes], bool]]) -> str:
    """A log in segments of these records; True: compressed."""
    for old in directory.iterdir():
        old.unlink()
    log, start = str(directory / "1.1.log"), 0
    for records, packed in parts:
        Path(path_of(log, start)).write_bytes(b"".join(records))
        if packed and records:
            assert shelf.compress(log, start, rest)
        start += sum(map(len, records))
    return log


def read_from(log: str, offset: int) -> tuple[bytes, list[Link]]:
    """Everything from there, and what was said to be gone."""
    reader, data, gone = LogReader(log), [], []
    while found := reader.read(offset):
        if isinstance(found, Link):
            gone.append(found)
            offset = found.end
        else:
            data.append(found)
            offset += len(found)
    reader.close()
    return b"".join(data), gone


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("job-1")


RECORDS = st.lists(
    st.builds(record, st.sampled_from([b"", b"short", b"x" * 30_000, b"y" * MAX_CONTENT]), st.booleans()),
    min_size=1, max_size=12,
)  # fmt: skip
PARTS = st.lists(st.tuples(RECORDS, st.booleans()), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(parts=PARTS, data=st.data())
def test_any_layout_reads_as_one_log_from_any_record(
    directory: Path, parts: list[tuple[list[bytes], bool]], data: st.DataObject
) -> None:
    log = lay_out(directory, parts)
    records = [one for part, _ in parts for one in part]
    whole = b"".join(records)
    cut = data.draw(st.integers(0, len(records)))
    begin = sum(map(len, records[:cut]))
    assert log_end(log) == len(whole)
    assert read_from(log, begin) == (whole[begin:], [])
    lines = data.draw(st.integers(0, 30))
    assert tail_starts(log, lines)["stdout"] == begins(records, lines)


@settings(max_examples=20, deadline=None)
@given(parts=PARTS, data=st.data())
def test_what_is_removed_is_said_once_and_the_rest_is_read(
    directory: Path, parts: list[tuple[list[bytes], bool]], data: st.DataObject
) -> None:
    log = lay_out(directory, parts)
    sizes = [sum(map(len, part)) for part, _ in parts]
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    first = data.draw(st.integers(1, len(parts)))
    second = data.draw(st.integers(first, len(parts)))
    shelf.drop(log, tuple(starts[:first]), "the first reason")
    if second > first:
        shelf.drop(log, tuple(starts[first:second]), "the second reason")
    whole, gone = b"".join(one for part, _ in parts for one in part), sum(sizes[:second])
    why = "the second reason" if second > first else "the first reason"
    assert read_from(log, 0) == (whole[gone:], [Link(0, gone, why)])
    assert log_end(log) == len(whole)
    assert read_from(log, gone) == (whole[gone:], [])
    kept = [one for part, _ in parts[second:] for one in part]
    below = tail_starts(log, 5)["stdout"]
    lines = sum(one.split(b" ", 3)[2] == b"F" or one is kept[-1] for one in kept)
    assert below == (gone + begins(kept, 5) if lines >= 5 else 0), "who asks for more than there is, is told"


def test_gzip_reads_what_we_compress(directory: Path) -> None:
    records = [record(b"line %d" % n) for n in range(30_000)]
    log = lay_out(directory, [(records, True)])
    packed = Path(path_of(log, 0, PACKED))
    assert gzip.decompress(packed.read_bytes()) == b"".join(records)
    assert packed.stat().st_size < sum(map(len, records)) / 3
    assert packed.stat().st_mode & 0o777 == 0o600
    assert not Path(log).exists()
    assert sum(map(len, records)) > 4 * MEMBER_BYTES


def test_a_reader_goes_on_while_its_segments_are_compressed_and_removed(directory: Path) -> None:
    """What it has open stays readable to its end; then it finds what took the next one's place."""
    parts = [[record(b"%d" % n) * 20_000] for n in range(4)]
    log = lay_out(directory, [(part, False) for part in parts])
    starts = [sum(len(part[0]) for part in parts[:n]) for n in range(4)]
    reader = LogReader(log)
    first = reader.read(0)
    assert isinstance(first, bytes)
    for start in starts[:3]:
        shelf.compress(log, start, rest)
    offset, taken = len(first), [first]
    while offset < starts[1]:
        found = reader.read(offset)
        assert isinstance(found, bytes)
        taken.append(found)
        offset += len(found)
    assert b"".join(taken) == parts[0][0]
    shelf.drop(log, tuple(starts[:2]), "reason")
    assert reader.read(offset) == Link(starts[1], starts[2], "reason")
    reader.close()
    assert read_from(log, starts[2]) == (parts[2][0] + parts[3][0], [])


def test_a_reader_that_was_given_what_others_read_goes_on_behind_it(directory: Path) -> None:
    """Followers share what one of them has read: the others' readers stand segments behind their cursors."""
    parts = [[record(b"%d" % n) * 5000] for n in range(4)]
    log = lay_out(directory, [(part, n == 1) for n, part in enumerate(parts)])
    whole = b"".join(part[0] for part in parts)
    size = len(parts[0][0])
    for jump in (size + 41 * 100, 2 * size + 41 * 100, 3 * size):
        reader = LogReader(log)
        reader.read(0)
        found = reader.read(jump)
        assert isinstance(found, bytes)
        assert found
        assert whole[jump:].startswith(found)
        reader.close()


def test_a_segment_that_grew_is_not_compressed(directory: Path) -> None:
    log = lay_out(directory, [([record(b"a") * 20_000], False)])

    def grow(worked: float) -> bool:
        with open(log, "ab") as file:
            file.write(record(b"late"))
        return False

    assert not shelf.compress(log, 0, grow)
    assert [path.name for path in directory.iterdir()] == ["1.1.log"]
    assert not shelf.compress(log, 0, lambda worked: True), "told to stop"
    assert [path.name for path in directory.iterdir()] == ["1.1.log"]


def test_a_damaged_member_costs_its_segment_and_is_said(directory: Path) -> None:
    first, second = [record(b"a") * 20_000], [record(b"b")]
    log = lay_out(directory, [(first, True), (second, False)])
    packed = Path(path_of(log, 0, PACKED))
    content = bytearray(packed.read_bytes())
    content[-100] ^= 1
    packed.write_bytes(content)
    data, gone = read_from(log, 0)
    end = len(first[0])
    assert [(link.end, link.why) for link in gone] == [(end, DAMAGED)]
    assert data == first[0][: gone[0].start] + second[0]


def test_a_hole_that_a_crash_made_is_mended_and_said(directory: Path) -> None:
    """The machine died before a complete segment was on disk: it is shorter than the next one's name says."""
    first = record(b"a") * 100
    log = lay_out(directory, [([first], False), ([record(b"b")], False)])
    os.truncate(log, len(record(b"a")) * 50 + 7)
    at = len(record(b"a")) * 50
    (found,) = shelf.scan(str(directory.parent), directory.name)
    assert [piece.start for piece in found.pieces] == [0, len(first)]
    shelf.mend(log, 0, at + 7, len(first))
    data, gone = read_from(log, 0)
    assert data == first[:at] + record(b"b")
    assert [(link.start, link.end, link.why) for link in gone] == [(at, at + 7, TORN), (at + 7, len(first), "a crash")]


# ---- kill -9 between any two steps ----------------------------------------------------------------------------------


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Run `act` in a child that kills itself at its n-th change of a file. False: it came to its end first."""
    pid = os.fork()
    if pid == 0:
        seen = 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in ("open", "os.rename", "os.remove", "os.utime"):
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), 9)

        sys.addaudithook(count)
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


def test_a_kill_between_any_two_steps_of_compressing_leaves_a_readable_log(directory: Path) -> None:
    parts = [[record(b"%d" % n) * 3000] for n in range(2)]
    whole = parts[0][0] + parts[1][0]
    for step in range(1, 20):
        log = lay_out(directory, [(part, False) for part in parts])
        killed = killed_at(step, lambda log=log: shelf.compress(log, 0, rest))
        assert read_from(log, 0) == (whole, []), step
        if not killed:
            break
    assert 5 < step < 19, "every step was looked at"


def test_a_kill_between_any_two_steps_of_removing_loses_no_word(directory: Path) -> None:
    parts = [[record(b"%d" % n) * 3000] for n in range(3)]
    whole = b"".join(part[0] for part in parts)
    size = len(parts[0][0])
    for step in range(1, 30):
        log = lay_out(directory, [(part, n == 0) for n, part in enumerate(parts)])
        killed = killed_at(step, lambda log=log: shelf.drop(log, (0, size), "reason"))
        data, gone = read_from(log, 0)
        assert whole.endswith(data)
        said = sum(link.end - link.start for link in gone)
        assert len(data) + said == len(whole), step
        if not killed:
            break
    assert gone == [Link(0, 2 * size, "reason")]
    assert 5 < step < 29, "every step was looked at"


def test_the_default_segment_holds_many_windows() -> None:
    assert SEGMENT_BYTES > 100 * MEMBER_BYTES
