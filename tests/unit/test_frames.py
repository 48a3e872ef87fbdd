"""Frames, however they are cut; and what is no frame."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.frames import MAX_FRAME, Frame, FrameDecoder, FrameError, encode_frame

#: What orjson takes and gives back as it was: no lone surrogates, integers of 64 bits, finite numbers.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
FRAMES = st.dictionaries(TEXT, VALUES, max_size=4)


def decode(*pieces: bytes) -> list[Frame]:
    decoder = FrameDecoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


@given(st.lists(FRAMES, max_size=5))
def test_a_byte_at_a_time(frames: list[Frame]) -> None:
    data = b"".join(map(encode_frame, frames))
    assert decode(*(data[i : i + 1] for i in range(len(data)))) == frames


@given(st.lists(FRAMES, max_size=8), st.data())
def test_cut_anywhere(frames: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(encode_frame, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
    assert decode(*pieces) == frames


@given(FRAMES, st.data())
def test_a_frame_comes_with_its_last_byte_and_not_before(frame: Frame, data: st.DataObject) -> None:
    stream = encode_frame(frame)
    cut = data.draw(st.integers(0, len(stream) - 1))
    decoder = FrameDecoder()
    assert list(decoder.feed(stream[:cut])) == []
    assert list(decoder.feed(stream[cut:])) == [frame]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes(kind: Any) -> None:
    assert decode(kind(encode_frame({"a": 1}))) == [{"a": 1}]


def test_a_frame_as_large_as_the_cap() -> None:
    text = "x" * (MAX_FRAME - len(b'{"a":""}'))
    data = encode_frame({"a": text})
    assert len(data) == 4 + MAX_FRAME
    assert decode(data[:1000], data[1000:]) == [{"a": text}]


def test_one_byte_more_is_not_sent() -> None:
    with pytest.raises(FrameError, match=f"{MAX_FRAME + 1} bytes: the cap is {MAX_FRAME}"):
        encode_frame({"a": "x" * (MAX_FRAME - len(b'{"a":""}') + 1)})


def test_one_byte_more_is_refused_before_its_body_is_there() -> None:
    decoder = FrameDecoder()
    assert list(decoder.feed((MAX_FRAME + 1).to_bytes(4, "big")[:3])) == []
    with pytest.raises(FrameError, match=f"{MAX_FRAME + 1} bytes: the cap is {MAX_FRAME}"):
        list(decoder.feed((MAX_FRAME + 1).to_bytes(4, "big")[3:]))


def test_too_many_values_are_refused_before_the_last_has_come() -> None:
    decoder, piece = FrameDecoder(), b"[]," * 100_000
    list(decoder.feed((16 * len(piece)).to_bytes(4, "big")))
    for _ in range(10):
        assert list(decoder.feed(piece)) == []
    with pytest.raises(FrameError, match="1100000 commas: the cap is 1000000"):
        list(decoder.feed(piece))


@pytest.mark.parametrize("size", [4096, 99_999, 1 << 20])
def test_each_large_frame_has_its_own_count_however_it_is_cut(size: int) -> None:
    frame = {"a": [0] * 600_000}
    data = 3 * encode_frame(frame)
    decoder = FrameDecoder()
    pieces = [data[n : n + size] for n in range(0, len(data), size)]
    assert [len(each["a"]) for piece in pieces for each in decoder.feed(piece)] == [600_000] * 3


def test_what_came_before_the_offence_is_delivered() -> None:
    decoder = FrameDecoder()
    frames = decoder.feed(encode_frame({"a": 1}) + b"\xff\xff\xff\xff")
    assert next(frames) == {"a": 1}
    with pytest.raises(FrameError):
        next(frames)


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"\xff\xfe", b"nan", b'{"a":1}x', b'"\\ud800"', b"[" * 5000])
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(FrameError, match="not JSON"):
        decode(len(body).to_bytes(4, "big") + body)


@pytest.mark.parametrize(
    ("body", "kind"), [(b"[]", "list"), (b"1", "int"), (b'"a"', "str"), (b"null", "NoneType"), (b"true", "bool")]
)
def test_what_is_not_an_object(body: bytes, kind: str) -> None:
    with pytest.raises(FrameError, match=f"is a {kind}, not an object"):
        decode(len(body).to_bytes(4, "big") + body)


@given(st.binary(max_size=200))
def test_noise_gives_frames_or_a_frame_error(noise: bytes) -> None:
    decoder = FrameDecoder()
    try:
        for frame in decoder.feed(noise):
            assert isinstance(frame, dict)
    except FrameError:
        pass


def test_what_is_not_json_is_not_sent() -> None:
    with pytest.raises(TypeError):
        encode_frame({"a": object()})
    with pytest.raises(TypeError):
        encode_frame({"a": 2**64})


def test_the_decoder_shows_what_it_holds() -> None:
    decoder = FrameDecoder()
    list(decoder.feed(encode_frame({})[:3]))
    assert repr(decoder) == "<FrameDecoder 3 bytes waiting>"
    list(decoder.feed(encode_frame({})[3:]))
    assert repr(decoder) == "<FrameDecoder 0 bytes waiting>"


def test_a_thousand_frames_in_one_read() -> None:
    frames = [{"n": n} for n in range(1000)]
    assert decode(b"".join(map(encode_frame, frames))) == frames


def test_the_body_is_json_and_nothing_else() -> None:
    data = encode_frame({"ä": [1, None]})
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert orjson.loads(data[4:]) == {"ä": [1, None]}
