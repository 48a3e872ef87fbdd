"""YAML into values: what it means, where it stands, and what is refused before it costs anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ipc.score.document import MAX_BYTES, find_key, parse_document, parse_value, read_document
from ipc.score.problems import ScoreError

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e300, 1e300) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=15
)


@given(st.dictionaries(TEXT, VALUES, max_size=5), st.sampled_from([True, False, None]))
def test_values_are_what_yaml_says(data: dict[str, Any], flow: bool | None) -> None:
    source = yaml.safe_dump(data, allow_unicode=True, default_flow_style=flow)
    assert parse_document(source, "x").data == data


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("yes", True), ("Off", False), ("~", None), ("", None), ("0x1f", 31), ("010", 8), ("1_000", 1000), ("-3", -3),
        ("1e3", "1e3"), ("1.5e+3", 1500.0), ("2024-01-01", "2024-01-01"), ("'5'", "5"), ("!!str 5", "5"), ("007a", "007a"),
        ("!!int '5'", 5), ("12:30", 750), ("! 5", "5"),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_they_always_did(source: str, value: Any) -> None:
    found = parse_value(source, "x")
    assert (type(found), found) == (type(value), value)


def test_keys_that_yaml_reads_as_something_else_stay_words() -> None:
    document = parse_document("on: 1\n1.5: 2\n3: 3\n~: 4\n'5': 5\n", "x")
    assert document.data == {"on": 1, "1.5": 2, 3: 3, "~": 4, "5": 5}


def test_merge_keys_and_aliases() -> None:
    source = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 9\nd: {<<: *b}\n"
    data = parse_document(source, "x").data
    assert data["c"] == {"x": 9, "y": 2, "z": 4}
    assert data["d"] == {"y": 3, "z": 4}


SOURCE = """\
name: song
sheet:
  dependencies:
    "2": [1,
      3]
prompt:
  template: |
    one
    two
  other: text
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("name",), (1, 1)),
        (("sheet", "dependencies", "2"), (4, 5)),
        (("sheet", "dependencies", 2), (4, 5)),
        (("sheet", "dependencies", 2, 1), (5, 7)),
        (("prompt", "template"), (7, 3)),
        (("prompt", "nowhere", "deep"), (6, 1)),
        (("nowhere",), (1, 1)),
        ((), (1, 1)),
    ],
)
def test_where_a_field_stands(path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    assert parse_document(SOURCE, "x").position(path) == place


def test_where_a_literal_block_begins() -> None:
    document = parse_document(SOURCE, "x")
    assert document.block_line(("prompt", "template")) == 8
    assert document.block_line(("prompt", "other")) is None
    assert document.block_line(("prompt", "nowhere")) is None


def test_what_the_command_line_set_has_no_place() -> None:
    document = parse_document(SOURCE, "x")
    document.overridden.add(("prompt",))
    assert document.position(("prompt", "template")) == (None, None)
    assert document.position(("name",)) == (1, 1)


@pytest.mark.parametrize(
    ("container", "part", "key"),
    [({2: 0}, "2", 2), ({"2": 0}, 2, "2"), ({"a": 0}, "b", None), ([5, 6], "1", 1), ([5, 6], 2, None), ("ab", 0, None)],
)
def test_keys_as_numbers_and_as_text(container: Any, part: Any, key: Any) -> None:
    assert find_key(container, part) == key


#: What is wrong → (text, line, column, words of the sentence or hint).
REFUSED: dict[str, tuple[str, int, int, str]] = {
    "a tab": ("name:\n\tx: 1", 2, 1, "spaces"),
    "a key twice": ("name: a\nx: 1\nname: b\n", 3, 1, "first on line 1"),
    "a key twice inside": ("x:\n  a: 1\n  a: 2\n", 3, 3, "first on line 2"),
    "two documents": ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
    "a list": ("- a\n", 1, 1, "a list"),
    "a word": ("hello world", 1, 1, "text"),
    "nothing": ("", 1, 1, "empty"),
    "comments alone": ("# nothing\n", 1, 1, "empty"),
    "a tag": ("a: !!python/object:os.system {}", 1, 4, "!!python/object:os.system"),
    "a scalar tag": ("a: !foo b", 1, 4, "!foo"),
    "a wrong tag": ("a: !!int b", 1, 4, "not a value"),
    "unquoted braces": ("a: 1\nb: {{ workspace }}/x\n", 2, 5, "quote"),
    "an unknown alias": ("a: *b\n", 1, 4, "*b"),
    "an alias in itself": ("a: &a [*a]\n", 1, 8, "inside its own anchor"),
    "an alias as a key": ("a: &a x\n*a : 1\n", 2, 1, "as a key"),
    "a merge of a number": ("a: &a 1\nb: {<<: *a}\n", 2, 9, "takes a map"),
    "a merge of a list of numbers": ("b: {<<: [1]}\n", 1, 9, "takes a map"),
    "an open quote": ('a: "x\n', 2, 1, "close it"),
    "a colon": ("a: b: c\n", 1, 5, "quote"),
    "not a number": ("a: .nan", 1, 4, "quote it"),
    "infinity": ("a: -.inf", 1, 4, "quote it"),
    "beyond 64 bits": ("a: 9223372036854775808", 1, 4, "quote it"),
    "a number without end": ("a: " + "9" * 5000, 1, 4, "quote it"),
    "too deep": ("a: " + "[" * 1000, 1, 67, "levels deep"),
    "too deep in blocks": ("\n".join(" " * n + "a:" for n in range(200)), 65, 65, "levels deep"),
    "half a surrogate": ('a: "\\ud800"', 1, 7, "Unicode"),
    "a NUL": ("a: b\nc: \0d", 2, 4, "NUL"),
    "a control character": ("a: b\nc: \x01", 2, 4, "not text"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_named_with_its_place(what: str, tmp_path: Path) -> None:
    text, line, column, words = REFUSED[what]
    path = tmp_path / "song.yaml"
    path.write_text(text)
    with pytest.raises(ScoreError) as caught:
        read_document(str(path))
    (problem,) = caught.value.problems
    assert caught.value.unreadable
    assert caught.value.exit_code == 2
    assert (problem.line, problem.column) == (line, column), str(problem)
    assert words in str(problem)
    assert str(problem).startswith(f"{path}:{line}:{column}: E304 error: ")


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_aliases_count_as_often_as_they_are_used() -> None:
    assert len(parse_document(bomb(4), "x").data) == 4
    with pytest.raises(ScoreError, match="counting what aliases repeat"):
        parse_document(bomb(9), "x")


def test_bytes_are_counted_before_they_are_parsed(tmp_path: Path) -> None:
    path = tmp_path / "song.yaml"
    path.write_text("a: " + "x" * MAX_BYTES)
    with pytest.raises(ScoreError, match="larger than 4 MiB"):
        read_document(str(path))


def test_bytes_that_are_no_text_are_placed(tmp_path: Path) -> None:
    path = tmp_path / "song.yaml"
    path.write_bytes(b"a: b\nname: M\xfcller\n")
    with pytest.raises(ScoreError, match=r"song.yaml:2:8: E304 error: not UTF-8 text: byte 0xfc"):
        read_document(str(path))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "song.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: song\n")
    assert read_document(str(path)).data == {"name": "song"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere.yaml", "does not exist"),
        (".", "is a directory"),
        ("/dev/null", "it is a device"),
        ("a\0b", "embedded null"),
    ],
)
def test_what_is_no_file_is_refused(path: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match=words) as caught:
        read_document(os.path.join(tmp_path, path))
    assert caught.value.unreadable
    assert caught.value.problems[0].line is None


def test_a_pipe_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"name: song\n")
    os.close(writer)
    assert read_document(f"/dev/fd/{reader}", may_be_pipe=True).data == {"name": "song"}
    os.close(reader)


def test_a_pipe_that_nobody_writes_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ScoreError, match="is empty"):
        read_document(str(path), may_be_pipe=True)
