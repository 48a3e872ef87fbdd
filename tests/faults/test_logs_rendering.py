"""What the renderers make of agents' lines: what matters once, in order, or its loss is said; errors never dropped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backends
from backends.base import STDOUT
from backends.claude_shown import BROKE_OFF, DIFFERS
from cli import lines
from cli.writers import TextWriter, renderer_of
from tests.bench.hostile_logs import record
from tests.contract.test_robustness import NAMES, every

Item = dict[str, Any]


def event(**of: Any) -> Item:
    return {"type": "stream_event", "event": of}


def start(id: str) -> Item:
    return event(type="message_start", message={"id": id})


def block(n: int = 0) -> Item:
    return event(type="content_block_start", index=n, content_block={"type": "text", "text": ""})


def delta(words: str) -> Item:
    return event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": words})


STOP = event(type="message_stop")


def full(id: str, *texts: str) -> Item:
    return {"type": "assistant", "message": {"id": id, "content": [{"type": "text", "text": text} for text in texts]}}


def result(words: str) -> Item:
    return {"type": "result", "subtype": "success", "is_error": False, "result": words, "num_turns": 1}


DONE = "✓ done · 1 turn · 0.0 s · $0.0000\n"

SCREENS: dict[str, tuple[list[Item], str]] = {
    "a broken stream that ended with a newline": (
        [start("1"), delta("half\n"), start("2"), delta("whole"), full("2", "whole")],
        f"half\n{BROKE_OFF}\nwhole\n",
    ),
    "a view that begins in the middle": ([delta("end of it"), full("1", "the end of it")], "end of it\n"),
    "two blocks, confirmed one by one": (
        [start("1"), block(), delta("one"), full("1", "one"), block(1), delta("two"), full("1", "two")],
        "one\ntwo\n",
    ),
    "two blocks, confirmed at once": (
        [start("1"), block(), delta("one"), block(1), delta("two"), STOP, full("1", "one", "two")],
        "one\ntwo\n",
    ),
    "words that only the full message has": ([start("1"), delta("one"), full("1", "one two")], "one two\n"),
    "a full message that reads differently": (
        [start("1"), delta("one"), full("1", "uno")], f"one\n{DIFFERS}\nuno\n",
    ),
    "a message that nothing confirms": ([start("1"), delta("one"), STOP, start("2"), delta("two")], "one\ntwo\n"),
    "a result unlike the last text": ([full("1", "one"), result("two")], f"one\ntwo\n{DONE}"),
    "a result like the last text": ([full("1", "one"), result("one ")], f"one\n{DONE}"),
    "a result like what was streamed": ([start("1"), delta("one"), STOP, result("one")], f"one\n{DONE}"),
    "an error": ([{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}], "✗ Overloaded\n"),
    "an error in the stream": (
        [start("1"), delta("one"), event(type="error", error={"message": "Overloaded"})], "one\n✗ Overloaded\n",
    ),
    "an error that the result says again": (
        [{**full("1", "API Error: 500"), "error": "server_error"}, {**result("API Error: 500"), "is_error": True}],
        "✗ API Error: 500 · 1 turn · 0.0 s · $0.0000\n",
    ),
    "string content": ([{"type": "assistant", "message": {"id": "1", "content": "words"}}], "words\n"),
    "carriage returns": ([full("1", "one\rtwo\r\nthree")], "one\ntwo\nthree\n"),
    "carriage returns cut from their newlines": ([start("1"), delta("one\r"), delta("\ntwo")], "one\ntwo\n"),
}  # fmt: skip


def screen(name: str, items: list[Item]) -> str:
    renderer = every(name).renderer()
    return "".join(renderer.feed(STDOUT, json.dumps(item).encode()) for item in items) + renderer.finish()


@pytest.mark.parametrize("case", SCREENS)
def test_F09_what_matters_is_shown_once(case: str) -> None:
    items, expected = SCREENS[case]
    assert screen("claude_cli", items) == expected.removesuffix("\n") + "\n"


def test_F09_an_error_without_a_result_is_shown() -> None:
    assert "API Error: 500" in screen("claude_cli", [{**full("1", "API Error: 500"), "error": "server_error"}])


ERRORS = st.sampled_from(
    [
        {"type": "error", "message": "SAID"},
        {"type": "error", "error": "SAID"},
        {"type": "error", "error": {"message": "SAID"}},
        {"type": "error", "error": {"name": "APIError", "data": {"message": "SAID"}}},
        {"type": "turn.failed", "error": {"message": "SAID"}},
        {"type": "turn.failed", "error": "SAID"},
        {"type": "item.completed", "item": {"type": "error", "message": "SAID"}},
        {"type": "never_heard_of", "is_error": True, "result": "SAID"},
        {"type": "system", "subtype": "some_error", "message": "SAID"},
        {"type": "stream_event", "event": {"type": "error", "error": {"message": "SAID"}}},
        {"type": "result", "status": "error", "is_error": True, "error": {"message": "SAID"}},
    ]
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(error=ERRORS, around=st.sampled_from([[], [start("1"), delta("one")], [full("1", "one")]]), after=st.booleans())
def test_F09_no_renderer_drops_an_error(name: str, error: Item, around: list[Item], after: bool) -> None:
    if every(name).renders:
        assert "SAID" in screen(name, [*around, error, *([full("2", "two")] if after else [])])


WORDS = st.text(alphabet="ab \n", min_size=1, max_size=8).filter(str.strip)


@settings(max_examples=60)
@given(texts=st.lists(WORDS, min_size=1, max_size=3), data=st.data())
def test_F09_however_a_message_is_cut_its_words_come_once(texts: list[str], data: st.DataObject) -> None:
    items = [start("1")]
    for n, words in enumerate(texts):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(words)), max_size=3)))
        items += [block(n), *(delta(words[a:b]) for a, b in zip([0, *cuts], [*cuts, len(words)], strict=True))]
    streamed = screen("claude_cli", [*items, STOP, full("1", *texts), result(texts[-1])])
    assert "".join(streamed.split()) == "".join("".join(texts).split()) + "".join(DONE.split())


@pytest.mark.parametrize("name", ["claude_cli", "codex_cli", "gemini_cli", "opencode_cli"])
def test_F09_a_line_that_is_too_long_is_said(name: str) -> None:
    document = b'{"type":"assistant","message":{"content":"' + b"x" * 5_000_000 + b'"}}'
    parts = [document[n : n + 60_000] for n in range(0, len(document), 60_000)]
    log = b"".join(record(part, tag=b"P") for part in parts[:-1]) + record(parts[-1])
    writer = TextWriter(lines.Text(renderer_of, lines.ALL), lines.Plain())
    shown = writer.feed({"subscription": 1, "job": "a-1", "sheet": 1, "attempt": 1, "offset": 0, "end": len(log),
                         "backend": name, "text": log.decode()}) + writer.finish()  # fmt: skip
    assert shown.decode() == f"… a line of {len(document):,} bytes is too long to show; --raw prints it\n"
    assert backends.load(name).renders
