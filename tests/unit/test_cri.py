"""The format of an attempt's log."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.cri import MAX_CONTENT, MAX_RECORD, Record, parse, records, timestamp

CONTENT = st.binary(max_size=200).map(lambda data: data.replace(b"\n", b""))


@given(st.integers(0, 253402300799_999_999_999))
def test_a_timestamp_is_rfc_3339_with_nanoseconds(nanoseconds: int) -> None:
    text = timestamp(nanoseconds).decode()
    whole, _, fraction = text.partition(".")
    assert len(text) == len("2026-11-23T02:15:06.123456789Z")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    assert int(moment.timestamp()) * 1_000_000_000 + int(fraction.removesuffix("Z")) == nanoseconds


def test_the_example_of_the_documentation() -> None:
    record = parse(b"2026-11-23T02:15:06.123456789Z stdout F a whole line")
    assert record == Record(b"2026-11-23T02:15:06.123456789Z", b"stdout", True, b"a whole line")


@given(st.integers(0, 2**60), st.sampled_from([b"stdout", b"stderr"]), st.sampled_from([b"F", b"P"]), CONTENT)
def test_what_is_written_is_read(when: int, stream: bytes, tag: bytes, content: bytes) -> None:
    written = b"%s %s %s %s" % (timestamp(when), stream, tag, content)
    assert parse(written) == Record(timestamp(when), stream, tag == b"F", content)


def test_content_may_be_empty_or_hold_spaces() -> None:
    assert parse(b"t stdout F ").content == b""
    assert parse(b"t stdout F  two  spaces ").content == b" two  spaces "


@pytest.mark.parametrize("line", [b"", b"hello", b"t stdout F", b"a b"])
def test_what_is_no_record(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a CRI record"):
        parse(line)


def test_a_long_line_that_is_no_record_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its length is what matters
        parse(b"x" * 10_000)
    assert len(str(caught.value)) < 200


@given(st.lists(CONTENT))
def test_a_block_gives_its_records_in_order(contents: list[bytes]) -> None:
    block = b"".join(b"t stdout F %s\n" % content for content in contents)
    assert [record.content for record in records(block)] == contents


def test_nothing_gives_nothing() -> None:
    assert list(records(b"")) == []


def test_a_record_of_the_largest_content_fits_the_bound() -> None:
    record = b"%s stderr P %s\n" % (timestamp(2**62), b"x" * MAX_CONTENT)
    assert len(record) <= MAX_RECORD
