"""Codex 0.169.0, as recorded: each case's events and verdict, written by hand from the recording."""

from __future__ import annotations

import pytest

from backends import load as load_backend
from backends.base import Result
from tests.contract.recordings import cases, load, needs_captures, replay, story

BEGUN = "session -"
ONE, TWO = "usage 120/25/1000/0", "usage 240/50/2000/0"
OK_ONE = ("ok", "", f"{BEGUN} > {ONE} > result ok")
OK_TWO = ("ok", "", f"{BEGUN} > {TWO} > result ok")
OK_TEXT = ("ok", "", "")
FAILED = f"{BEGUN} > result error"
OVERLOADED = ("overloaded", "E103", f"{BEGUN} > limited overloaded > result error")
QUOTA = ("rate_limited", "E104", f"{BEGUN} > limited quota > result error")
KILLED = ("crashed", "E002", BEGUN)

EXPECTED = {
    "200-garbage-noretry": ("failed", "E503", FAILED),
    "400-context-length": ("failed", "E507", FAILED),
    "401": ("auth", "E502", FAILED),
    "401-text": ("auth", "E502", ""),
    "403": ("auth", "E502", FAILED),
    "404-model-not-found": ("failed", "E506", FAILED),
    "429-insufficient_quota": QUOTA,
    "429-noretry": ("rate_limited", "E101", f"{BEGUN} > limited requests > result error"),
    "429-noretry-text": ("rate_limited", "E101", ""),
    # It sleeps an hour through without saying so: the first sign of the limit has to do.
    "429-retryafter3600-default": ("rate_limited", "E101", f"{BEGUN} > limited requests"),
    "429-usage_limit_reached-chatgpt": (
        "rate_limited",
        "E104",
        f"{BEGUN} > limited quota @1795397700 > result error",
    ),
    "429-usage_not_included": QUOTA,
    "500-default": OVERLOADED,
    "500-noretry": OVERLOADED,
    "503-slow_down-noretry": OVERLOADED,
    "agents-md": OK_ONE,
    "agents-md-off": OK_ONE,
    "bogus-reasoning-effort-accepted": OK_ONE,
    "builtin-provider-OPENAI_API_KEY-only": OK_ONE,
    # Two waits for the network were not yet enough to end it.
    "builtin-provider-OPENAI_BASE_URL-env": ("timeout", "E001", BEGUN),
    "builtin-provider-no-auth": OK_ONE,
    "builtin-provider-openai_base_url": OK_ONE,
    # It would wait for ever: ended at the third wait.
    "conn-refused-default-long": ("failed", "E501", FAILED),
    "developer_instructions": OK_ONE,
    "empty-prompt-arg-accepted": OK_ONE,
    "ephemeral": OK_ONE,
    "err-cd-missing": ("failed", "E303", ""),
    "err-empty-prompt-devnull": ("failed", "E301", ""),
    "err-missing-env-key": ("auth", "E502", FAILED),
    "err-not-git-repo": ("failed", "E301", ""),
    "hang-no-bytes-default-long": ("timeout", "E001", BEGUN),
    "home-unwritable": ("failed", "E303", ""),
    "long-text-1MB": OK_ONE,
    "mcp-broken": OK_ONE,
    "mcp-off-ignore-user-config": OK_ONE,
    "mcp-user-config-default": OK_ONE,
    "midstream-eof-noretry": ("failed", "E503", FAILED),
    "midstream-reset-noretry": ("failed", "E901", FAILED),
    "model_instructions_file": OK_ONE,
    "multi-item-3-tools": OK_TWO,
    "nonutf8-arg": OK_ONE,
    "nonutf8-stdin": ("failed", "E301", ""),
    "ok-json": OK_ONE,
    "ok-json-output-last-message": OK_ONE,
    "ok-json-stdin": OK_ONE,
    "ok-json-stdin-dash": OK_ONE,
    "ok-json-stdin-plus-arg": OK_ONE,
    "ok-text": OK_TEXT,
    # A resumed thread's counts include what came before.
    "resume-by-id": OK_TWO,
    "resume-last": ("ok", "", f"{BEGUN} > usage 360/75/3000/0 > result ok"),
    "resume-missing-err": ("no_session", "E009", ""),
    "resume-stdin-dash": ("ok", "", f"{BEGUN} > usage 480/100/4000/0 > result ok"),
    "session-first": OK_ONE,
    "signal-SIGHUP-midstream": KILLED,
    # Interrupted it says nothing at all and exits with 1.
    "signal-SIGINT-in-tool-group": ("failed", "E009", BEGUN),
    "signal-SIGKILL-in-tool": KILLED,
    "signal-SIGKILL-midstream": KILLED,
    "signal-SIGKILL-midstream-native-binary": KILLED,
    "signal-SIGSEGV-midstream": ("crashed", "E003", BEGUN),
    "signal-SIGTERM-in-tool": KILLED,
    "signal-SIGTERM-in-tool-group": KILLED,
    "signal-SIGTERM-in-tool-native": KILLED,
    "signal-SIGTERM-midstream-native-binary": KILLED,
    "stdin-5MB": ("failed", "E507", BEGUN),
    "stdin-open-never-closed-arg": ("timeout", "E001", ""),
    "stdout-closed-early": ("crashed", "E003", BEGUN),
    "stream-failed-context_length": ("failed", "E507", FAILED),
    "stream-failed-insufficient_quota": QUOTA,
    # Told to wait 1.5 s it does so by itself; when it gives up, that is the shortest hold there is.
    "stream-failed-rate_limit": ("rate_limited", "E101", f"{BEGUN} > limited requests @1795392005 > result error"),
    "stream-failed-rate_limit-noretry": (
        "rate_limited",
        "E101",
        f"{BEGUN} > limited requests @1795392011 > result error",
    ),
    "stream-failed-server_error-noretry": ("failed", "E503", FAILED),
    "tool-apply_patch-bypass-json": OK_TWO,
    "tool-exec-bypass-text": OK_TEXT,
    "tool-exec-danger-full-access": OK_TWO,
    "tool-exec-readonly-default-json": OK_TWO,
    "tool-long-output": OK_TWO,
    "tool-nohup-child-then-exit": OK_TWO,
    "tool-nonutf8-output": OK_TWO,
}

CODEX = load_backend("codex_cli")


@needs_captures
def test_every_recording_is_in_the_table() -> None:
    assert cases("codex") == sorted(EXPECTED)


@needs_captures
@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_recording(case: str) -> None:
    recording = load("codex", case)
    form = "stream-json" if "--json" in recording.meta["argv"] else "text"
    events, verdict = replay(CODEX, recording, {"output_format": form})
    assert (verdict.name, verdict.code, story(events)) == EXPECTED[case]
    assert not verdict.code or (verdict.message and verdict.evidence), "a failure says what shows it"


@needs_captures
def test_a_network_that_is_not_there_is_not_waited_for_to_the_end() -> None:
    """The third wait ends it at once: it would go on for ever."""
    events, _ = replay(CODEX, load("codex", "conn-refused-default-long"))
    assert [event.stop for event in events if isinstance(event, Result)] == [True]
