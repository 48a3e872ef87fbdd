"""Whatever an agent prints, its parser and its renderer never raise: bad UTF-8, lone surrogates, NUL bytes, half lines, lines
of megabytes, known events with wrong insides. And nothing that is cut counts as a result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backends
from backends.base import LINE_CAP, STDERR, STDOUT, Backend, Ending, Result
from tests.contract.recordings import CAPTURES, NOW, load, needs_captures, run_of

NAMES = ("claude_cli", "codex_cli", "gemini_cli", "opencode_cli", "qwen-code", "cursor-agent")
AGENTS = {
    "claude": "claude_cli",
    "codex": "codex_cli",
    "gemini": "gemini_cli",
    "opencode": "opencode_cli",
    "qwen": "qwen-code",
}

KINDS = [
    b'{"type":"assistant","error":"x","message":',
    b'{"type":"error","message":',
    b'{"type":"error","error":',
    b'{"type":"init","session_id":',
    b'{"type":"item.completed","item":',
    b'{"type":"message","role":"assistant","content":',
    b'{"type":"rate_limit_event","rate_limit_info":',
    b'{"type":"result","subtype":"success","is_error":',
    b'{"type":"result","status":"error","error":',
    b'{"type":"result","usage":',
    b'{"type":"result","modelUsage":',
    b'{"type":"step_finish","sessionID":"s","part":',
    b'{"type":"step_start","sessionID":',
    b'{"type":"stream_event","event":{"type":"message_start","message":',
    b'{"type":"stream_event","event":{"type":"message_delta","usage":',
    b'{"type":"system","subtype":"api_retry","retry_delay_ms":',
    b'{"type":"system","subtype":"init","session_id":',
    b'{"type":"thread.started","thread_id":',
    b'{"type":"tool_use","part":',
    b'{"type":"turn.completed","usage":',
    b'{"type":"turn.failed","error":',
    b'[{"type":"result","errors":',
    b"Attempt 3 failed with status ",
]
WORDS = """
type subtype status message content text error code data usage part tokens cost cache reason state input output is_error errors
result resetsAt rateLimitType utilization input_tokens cached_input_tokens stats duration_ms model item id event delta name
command exit_code metadata sessionID statusCode responseHeaders retry-after responseBody tool
"""
KEYS = st.sampled_from(WORDS.split())
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800") | st.just("rejected"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def every(name: str) -> Backend:
    return backends.load(name)


def feed_all(backend: Backend, lines: list[tuple[str, bytes]]) -> None:
    parser, renderer = backend.parser(run_of()), backend.renderer()
    for stream, line in lines:
        for event in parser.feed(stream, line):
            orjson.dumps(event)
        renderer.feed(stream, line).encode()
    renderer.finish().encode()
    for code, stopped in (
        (0, None),
        (1, None),
        (None, "timeout"),
        (None, "limited"),
        (None, "post_result"),
        (None, "stalled"),
    ):
        tail = b"\n".join(line for _, line in lines)[-16384:].decode("utf-8", "replace")
        orjson.dumps(parser.verdict(Ending(code, None if code is not None else 9, stopped, tail, tail, NOW)))


@pytest.mark.parametrize("name", NAMES)
@given(
    lines=st.lists(
        st.tuples(st.sampled_from([STDOUT, STDERR]), st.sampled_from([b"", *KINDS]), st.binary(max_size=200))
    )
)
def test_any_bytes(name: str, lines: list[tuple[str, bytes, bytes]]) -> None:
    feed_all(every(name), [(stream, (kind + rest).replace(b"\n", b" ")) for stream, kind, rest in lines])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(lines=st.lists(st.tuples(st.sampled_from(KINDS), VALUES)))
def test_known_events_with_wrong_insides(name: str, lines: list[tuple[bytes, Any]]) -> None:
    closing = {kind: b"}" * (kind.count(b"{") - kind.count(b"}")) + b"]" * kind.count(b"[{") for kind in KINDS}
    whole = [(STDOUT, kind + json.dumps(value).encode() + closing[kind]) for kind, value in lines]
    feed_all(every(name), whole)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "line",
    [
        b"\x00" * 1000,
        b'{"type":"result","result":"\\ud800"}',
        b'{"type":"result","result":"\xff\xfe"}',
        b'{"type":"result","total_cost_usd":1e999,"usage":{"input_tokens":' + b"9" * 5000 + b"}}",
        b'{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1e300}}',
        b'{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":-1}}',
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"type":"assistant","message":{"content":[{"type":"text","text":"' + b"x" * (3 << 20) + b'"}]}}',
        b"x" * (4 << 20),
    ],
    ids=lambda line: repr(line[:40]),
)
def test_hostile_line(name: str, line: bytes) -> None:
    feed_all(every(name), [(STDOUT, line), (STDERR, line)])


def prefixes(agent: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Every beginning of every short line of every recording: more than a test has time for."""
    for path in sorted((CAPTURES / agent).glob("*.meta.json")):
        recording = load(agent, path.name.removesuffix(".meta.json"))
        for stream, line in recording.lines():
            if len(line) < 1500:
                yield from ((stream, line, line[:end]) for end in range(len(line)))


@needs_captures
@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_half_lines_give_no_result(agent: str) -> None:
    backend = every(AGENTS[agent])
    seen: set[bytes] = set()
    for stream, line, half in islice(prefixes(agent), 0, 200_000, 37):
        parser = backend.parser(run_of())
        if stream in parser.wants and half not in seen and line.startswith(b"{"):
            seen.add(half)
            assert not any(isinstance(event, Result) for event in parser.feed(stream, half))


@needs_captures
@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_a_recording_byte_by_byte_means_nothing(agent: str) -> None:
    """Single bytes as lines, as if an agent wrote one to a line: no events, no exception."""
    backend = every(AGENTS[agent])
    for path in sorted((CAPTURES / agent).glob("*.meta.json"))[:10]:
        recording = load(agent, path.name.removesuffix(".meta.json"))
        parser, renderer = backend.parser(run_of()), backend.renderer()
        for byte in recording.stdout[:5000]:
            assert not parser.feed(STDOUT, bytes([byte]))
            renderer.feed(STDOUT, bytes([byte]))


def test_a_result_longer_than_the_cap_is_still_a_result() -> None:
    head = b'{"type":"result","subtype":"success","is_error":false,"api_error_status":null,"result":"'
    parser = every("claude_cli").parser(run_of())
    events = parser.feed(STDOUT, (head + b"x" * LINE_CAP)[:LINE_CAP])
    assert events == (Result(True),)
    assert parser.verdict(Ending(0, None, None, "", "", NOW)).name == "ok"


@pytest.mark.parametrize("name", NAMES)
def test_a_terminal_is_safe_from_what_a_model_says(name: str) -> None:
    renderer = every(name).renderer()
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m"
    events = [
        {"type": "assistant", "message": {"id": "1", "content": [{"type": "text", "text": evil}]}},
        {"type": "item.completed", "item": {"type": "agent_message", "text": evil}},
        {"type": "message", "role": "assistant", "content": evil},
        {"type": "text", "part": {"text": evil}},
    ]
    shown = "".join(renderer.feed(STDOUT, json.dumps(event).encode()) for event in events) + renderer.finish()
    assert not set(shown) & {"\x1b", "\x07", "\x9b"}
