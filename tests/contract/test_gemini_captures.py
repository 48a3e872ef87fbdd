"""Gemini CLI 0.61.0, as recorded: each case's events and verdict, written by hand from the recording."""

from __future__ import annotations

import pytest

from backends import load as load_backend
from tests.contract.recordings import cases, load, needs_captures, replay, story

PRO = "session gemini-2.5-pro"
NOTHING = "usage 0/0/0/0"
ONE, TWO, FOUR = "usage 200/25/1000/0", "usage 400/50/2000/0", "usage 800/100/4000/0"
OK_ONE = ("ok", "", f"{PRO} > {ONE} > result ok")
OK_TWO = ("ok", "", f"{PRO} > {TWO} > result ok")
FAILED = f"{PRO} > {NOTHING} > result error"
CUT = ("truncated", "E503", PRO)
KILLED = ("crashed", "E002", PRO)
SWALLOWED = ("timeout", "E001", PRO)

EXPECTED = {
    "400-api-key-invalid-json": ("auth", "E502", ""),
    "400-api-key-invalid-stream": ("auth", "E502", FAILED),
    "400-api-key-invalid-text": ("auth", "E502", ""),
    "400-too-long-stream": ("failed", "E507", FAILED),
    "401-stream": ("auth", "E502", FAILED),
    "404-model-stream": ("failed", "E506", f"session gemini-nope > {NOTHING} > result error"),
    # It would sleep three hours and a half: 3h22m10s is said in words, 12,881,002 ms beside them.
    "429-code-assist-quota-exhausted-stream": ("rate_limited", "E104", f"{PRO} > limited quota @1795404130"),
    "429-daily-quota-auto-model-stream": (
        "rate_limited",
        "E104",
        "session auto > limited quota > usage 50/5/0/0 > result error",
    ),
    "429-daily-quota-text": ("rate_limited", "E104", ""),
    "429-plain-maxAttempts1-stream": (
        "rate_limited",
        "E101",
        f"{PRO} > limited requests > {NOTHING} > result error",
    ),
    "429-plain-maxAttempts2-json": ("rate_limited", "E101", ""),
    "429-plain-stream": ("rate_limited", "E101", f"{PRO} > limited requests"),
    "500-maxAttempts1-stream": ("overloaded", "E103", f"{PRO} > limited overloaded > {NOTHING} > result error"),
    "500-stream": ("overloaded", "E103", f"{PRO} > limited overloaded"),
    "503-overloaded-stream": ("overloaded", "E103", f"{PRO} > limited overloaded"),
    "conn-refused-maxAttempts1-stream": ("failed", "E501", FAILED),
    # Ended at the third attempt of ten.
    "conn-refused-stream": ("failed", "E501", f"{PRO} > result error"),
    "empty-response-stream": ("failed", "E503", f"{PRO} > {FOUR} > result error"),
    "err-invalid-flag": ("failed", "E301", ""),
    "err-no-auth-json": ("auth", "E502", ""),
    "err-no-auth-stream": ("auth", "E502", ""),
    "err-no-prompt-devnull": ("failed", "E301", ""),
    "finish-MALFORMED-stream": ("failed", "E503", f"{PRO} > {FOUR} > result error"),
    # Nothing tells that the answer was cut by its token cap.
    "finish-MAX_TOKENS-stream": OK_ONE,
    "finish-SAFETY-stream": ("refused", "E508", f"{PRO} > {FOUR} > result error"),
    "hang-no-bytes-default": ("failed", "E501", f"{PRO} > result error"),
    "long-single-delta-1MB-norelaunch": CUT,
    "long-text-1MB-json": ("truncated", "E503", ""),
    # Text has no end that could be missing.
    "long-text-1MB-text": ("ok", "", ""),
    "loop-detect-stream": ("failed", "E503", f"{PRO} > {FOUR} > result error"),
    "max-session-turns-json": ("capped", "E509", ""),
    "max-session-turns-stream": ("capped", "E509", f"{PRO} > {TWO} > result error"),
    "mcp-off-allowed-none": OK_ONE,
    "mcp-user-config-default": OK_ONE,
    "midstream-eof-then-ok-stream": OK_ONE,
    "midstream-reset-stream": ("failed", "E503", FAILED),
    "ok-norelaunch-stream": OK_ONE,
    "ok-positional": OK_ONE,
    "ok-stdin-plus-arg": OK_ONE,
    "ok-stream-json-model": OK_ONE,
    "ok-stream-json-stdin-only": OK_ONE,
    "prompt-at-file": OK_ONE,
    "prompt-leading-dash": OK_ONE,
    "prompt-leading-slash": OK_ONE,
    "resume-by-id": OK_ONE,
    "resume-latest": OK_ONE,
    "session-id-explicit": OK_ONE,
    "signal-SIGINT-in-tool": SWALLOWED,
    "signal-SIGINT-in-tool-norelaunch": CUT,
    "signal-SIGINT-midstream": SWALLOWED,
    "signal-SIGINT-midstream-norelaunch": CUT,
    "signal-SIGKILL-in-tool": KILLED,
    "signal-SIGKILL-in-tool-group": KILLED,
    "signal-SIGKILL-midstream": KILLED,
    "signal-SIGKILL-midstream-norelaunch": KILLED,
    "signal-SIGTERM-midstream": SWALLOWED,
    "signal-SIGTERM-midstream-group": CUT,
    "stdin-9MB": CUT,
    "stdout-closed-early": CUT,
    "system-md-env": OK_ONE,
    "tool-nonutf8-output": ("failed", "E503", f"{PRO} > {ONE} > result error"),
    "tool-shell-allowed-tools": OK_TWO,
    "tool-shell-default-stream": OK_TWO,
    "tool-shell-yolo-stream": OK_TWO,
    "tool-shell-yolo-text": ("ok", "", ""),
    "tool-write-auto_edit-stream": OK_TWO,
    "tool-write-yolo-stream": OK_TWO,
}

GEMINI = load_backend("gemini_cli")


def format_of(argv: list[str]) -> str:
    return argv[argv.index("-o") + 1] if "-o" in argv else "text"


@needs_captures
def test_every_recording_is_in_the_table() -> None:
    assert cases("gemini") == sorted(EXPECTED)


@needs_captures
@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_recording(case: str) -> None:
    recording = load("gemini", case)
    events, verdict = replay(GEMINI, recording, {"output_format": format_of(recording.meta["argv"])})
    assert (verdict.name, verdict.code, story(events)) == EXPECTED[case]
    assert not verdict.code or (verdict.message and verdict.evidence), "a failure says what shows it"
