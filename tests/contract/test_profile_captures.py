"""Aider 0.86.2 and Qwen Code 0.15.10 through their profiles, as recorded: written by hand from the recordings."""

from __future__ import annotations

import pytest

import backends
from tests.contract.recordings import cases, load, needs_captures, replay, story

OK = ("ok", "", "")
AIDER = {
    "401": ("auth", "E502", ""),
    "err-invalid-flag": ("failed", "E301", ""),
    # The end of the stream counts as the end of the answer.
    "midstream-eof": OK,
    "no-key": ("auth", "E502", ""),
    "ok-message": OK,
    "ok-message-2nd": OK,
    "ok-message-file": OK,
    "ok-no-stream": OK,
    "ok-slow-stream": OK,
    # It exits with 0.
    "signal-SIGINT-midstream": ("failed", "E004", ""),
    "signal-SIGKILL-midstream": ("crashed", "E002", ""),
}

BEGUN = "session fake-1"
ONE, TWO = "usage 120/25/1000/0", "usage 240/50/2000/0"
OK_ONE = ("ok", "", f"{BEGUN} > {ONE} > result ok")
OK_TWO = ("ok", "", f"{BEGUN} > {TWO} > result ok")
SILENT = ("timeout", "E001", BEGUN)
KILLED = ("crashed", "E002", BEGUN)
QWEN = {
    "401-text": ("auth", "E502", ""),
    "429-maxRetries0-stream": SILENT,
    "429-plain-full-exhaust-stream": SILENT,
    "429-retryafter2-stream": SILENT,
    "append-system-prompt": OK_TWO,
    "bare": OK_ONE,
    # A result of success without an error flag, and yet an error.
    "conn-refused-stream": ("failed", "E501", f"{BEGUN} > usage 0/0/0/0 > result error"),
    "err-invalid-flag": ("failed", "E301", ""),
    "err-no-auth": ("auth", "E502", "result error"),
    "finish-length-stream": ("ok", "", f"{BEGUN} > usage 1200/250/10000/0 > result ok"),
    "hang-no-bytes-default": SILENT,
    "long-text-1MB-stream": ("truncated", "E503", BEGUN),
    "max-session-turns-stream": ("capped", "E509", BEGUN),
    "mcp-user-config-default": OK_TWO,
    "midstream-eof-stream": OK_TWO,
    # One array, which the profile's own command never asks for.
    "ok-json": ("truncated", "E503", ""),
    "ok-stdin-stream": OK_TWO,
    "ok-stream-json": OK_TWO,
    "prompt-leading-slash": OK_TWO,
    "session-id": OK_TWO,
    "signal-SIGINT-midstream": ("failed", "E004", BEGUN),
    "signal-SIGINT-midstream-group": ("failed", "E004", BEGUN),
    "signal-SIGKILL-midstream": KILLED,
    "signal-SIGTERM-in-tool": KILLED,
    "stdin-open-never-closed": OK_TWO,
    "system-prompt": OK_TWO,
    "tool-shell-default-stream": OK_TWO,
}


@needs_captures
@pytest.mark.parametrize(("agent", "table"), [("aider", AIDER), ("qwen", QWEN)])
def test_every_recording_is_in_the_table(agent: str, table: dict[str, tuple[str, str, str]]) -> None:
    assert cases(agent) == sorted(table)


@needs_captures
@pytest.mark.parametrize("case", sorted(AIDER))
def test_aider(case: str) -> None:
    events, verdict = replay(backends.load("aider"), load("aider", case))
    assert (verdict.name, verdict.code, story(events)) == AIDER[case]


@needs_captures
@pytest.mark.parametrize("case", sorted(QWEN))
def test_qwen(case: str) -> None:
    events, verdict = replay(backends.load("qwen-code"), load("qwen", case))
    assert (verdict.name, verdict.code, story(events)) == QWEN[case]
