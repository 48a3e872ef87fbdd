"""Claude Code 2.1.197, as recorded: each case's events and verdict, written by hand from the recording."""

from __future__ import annotations

import pytest

from backends import load as load_backend
from tests.contract.recordings import cases, load, needs_captures, replay, story

OPUS, SONNET, SONNET45 = "session claude-opus-4-8[1m]", "session claude-sonnet-5", "session claude-sonnet-4-5-20250929"
NOTHING = "usage 0/0/0/0 $0"
ONE, TWO = "usage 120/9/1000/0 $0.001325", "usage 240/18/2000/0 $0.00265"
ONE_SONNET = "usage 120/9/1000/0 $0.000795"

OK_ONE = ("ok", "", f"{OPUS} > {ONE} > result ok")
OK_TWO = ("ok", "", f"{OPUS} > {TWO} > result ok")
OK_SONNET = ("ok", "", f"{SONNET} > {ONE_SONNET} > result ok")
OK_RESUMED = ("ok", "", f"{SONNET45} > {ONE_SONNET} > result ok")
FAILED = f"{OPUS} > {NOTHING} > result error"
FAILED_SONNET = f"{SONNET} > {NOTHING} > result error"
TOO_MANY = f"{OPUS} > limited requests > {NOTHING} > result error"
TOO_MANY_AT_ONCE = ("rate_limited", "E101", TOO_MANY)
OVERLOADED = ("overloaded", "E103", f"{OPUS} > limited overloaded > {NOTHING} > result error")
INTERRUPTED = ("failed", "E004", FAILED)
BAD_START = ("failed", "E301", "")

#: case → (verdict, code, story).
EXPECTED = {
    "200-not-sse-garbage": ("failed", "E503", FAILED),
    "400-generic-stream": ("failed", "E009", FAILED),
    "400-org-disabled-stream": ("auth", "E502", FAILED),
    "401-apikey-json": ("auth", "E502", f"{NOTHING} > result error"),
    "401-apikey-partial": ("auth", "E502", FAILED),
    "401-oauth-invalid-stream": ("auth", "E502", FAILED_SONNET),
    "401-oauth-stream": ("auth", "E502", FAILED_SONNET),
    "403-oauth-revoked-stream": ("auth", "E502", FAILED_SONNET),
    "404-model-not-found-stream": ("failed", "E506", f"session claude-nope-9 > {NOTHING} > result error"),
    "404-model-not-found-text": ("failed", "E506", ""),
    "429-apikey-input-tokens-headers": ("rate_limited", "E101", f"{OPUS} > limited requests +40"),
    "429-noretry-json": ("rate_limited", "E101", f"limited requests > {NOTHING} > result error"),
    "429-noretry-stream": TOO_MANY_AT_ONCE,
    "429-oauth-unified-allowed-retryafter2": (
        "rate_limited",
        "E104",
        f"{SONNET} > limited five_hour @1795397428 > {NOTHING} > result error",
    ),
    "429-plain-default-retries": ("rate_limited", "E101", f"{OPUS} > limited requests +17"),
    "429-retryafter2-default": ("rate_limited", "E101", f"{OPUS} > limited requests +20"),
    "429-retryafter3600-default": TOO_MANY_AT_ONCE,
    "429-then-ok-stream": OK_ONE,
    "429-xshouldretry-false-apikey": TOO_MANY_AT_ONCE,
    "500-noretry-stream": OVERLOADED,
    "503-retries1-stream": OVERLOADED,
    "529-fallback-model": ("overloaded", "E103", f"{OPUS} > limited overloaded +19"),
    "529-full-default-exhaust": (
        "overloaded",
        "E103",
        f"{OPUS} > limited overloaded +18 > {NOTHING} > result error",
    ),
    "529-noretry-partial": OVERLOADED,
    "529-retries2-stream": OVERLOADED,
    "add-dir-nonexistent-ok": OK_ONE,
    "append-system-prompt": OK_ONE,
    "arg-prompt-127KB": OK_ONE,
    "auth-token-env-401": ("auth", "E502", FAILED),
    "bare": OK_ONE,
    "bare-with-project-files": OK_ONE,
    "config-dir-unwritable-ok": OK_ONE,
    "conn-refused-noretry-json": ("failed", "E501", f"{NOTHING} > result error"),
    "continue-stream": OK_RESUMED,
    "control-interrupt-then-turn2": (
        "ok",
        "",
        f"{OPUS} > {NOTHING} > result error > {OPUS} > {ONE} > result ok",
    ),
    "env-max-turns-1": ("capped", "E509", f"{OPUS} > {ONE} > result error"),
    "err-bypass-as-root-no-IS_SANDBOX": BAD_START,
    "err-empty-prompt": BAD_START,
    "err-invalid-flag": BAD_START,
    "err-invalid-output-format": BAD_START,
    "err-no-prompt-devnull": BAD_START,
    "err-stream-json-without-verbose": ("failed", "E306", ""),
    "hang-no-bytes-default": OK_ONE,
    "hang-no-bytes-timeout3s": ("failed", "E504", FAILED),
    "hang-no-bytes-timeout3s-retries1": ("failed", "E504", FAILED),
    "input-stream-json-garbage": ("failed", "E306", ""),
    "json-array-verbose-429": TOO_MANY_AT_ONCE,
    "json-schema-model-never-calls-tool": OK_TWO,
    "json-schema-ok": OK_ONE,
    "long-text-1MB-partial": OK_ONE,
    "long-tool-output-bash-2MB": OK_TWO,
    "max-budget-json": ("capped", "E509", f"{TWO} > result error"),
    "max-budget-text": ("capped", "E509", ""),
    "max-budget-tiny-single-turn": ("capped", "E509", f"{OPUS} > {ONE} > result error"),
    "max-retries-99-clamped-15": OK_ONE,
    "max-turns-1-text-answer": OK_ONE,
    "max-turns-json": ("capped", "E509", f"{TWO} > result error"),
    "max-turns-partial": ("capped", "E509", f"{OPUS} > {TWO} > result error"),
    "max-turns-text": ("capped", "E509", ""),
    "mcp-config-broken": OK_ONE,
    "mcp-strict-off": OK_ONE,
    "midstream-overloaded-event-partial": OK_ONE,
    "midstream-ratelimit-event": OK_ONE,
    "midstream-reset-default-then-ok": OK_ONE,
    "model-alias-sonnet": OK_SONNET,
    "no-credentials-stream": ("auth", "E502", FAILED),
    "no-credentials-text": ("auth", "E502", ""),
    "no-session-persistence": OK_ONE,
    "nonutf8-in-sse": ("ok", "", f"{OPUS} > usage 1/9/0/0 $0.00023 > result ok"),
    "nonutf8-in-sse-text": ("ok", "", ""),
    "nonutf8-read-file": OK_TWO,
    "nonutf8-stdin-prompt": OK_ONE,
    "nonutf8-tool-output": OK_TWO,
    "oauth-allowed-quiet": OK_SONNET,
    "oauth-allowed-warning-stream": OK_SONNET,
    "oauth-no-ratelimit-headers-ok": OK_SONNET,
    # Rejected, but it goes on with paid overage: no limit.
    "oauth-overage-in-use": OK_SONNET,
    "ok-json": ("ok", "", f"{ONE} > result ok"),
    "ok-stdin-plus-arg": OK_ONE,
    "ok-stdin-stream": OK_ONE,
    "ok-stream-json": OK_ONE,
    "ok-text": ("ok", "", ""),
    "ok-thinking-partial": OK_ONE,
    "ok-thinking-stream": OK_ONE,
    # A prompt taken for a slash command reaches no model.
    "prompt-leading-slash-disable-slash": ("failed", "E301", f"{OPUS} > {NOTHING} > result ok"),
    "prompt-leading-slash-path": OK_ONE,
    "prompt-slash-cost": ("failed", "E301", f"{OPUS} > {NOTHING} > result ok"),
    "prompt-too-long-json": ("failed", "E507", f"{NOTHING} > result error"),
    "prompt-too-long-partial": ("failed", "E507", FAILED),
    "prompt-too-long-stream": ("failed", "E507", FAILED),
    "resume-missing-err": ("no_session", "E009", f"{NOTHING} > result error"),
    "resume-ok-stream": OK_RESUMED,
    "session-id-explicit": OK_ONE,
    "session-id-explicit-again-err": ("no_session", "E009", ""),
    "signal-SIGHUP-midstream": ("crashed", "E002", OPUS),
    "signal-SIGINT-during-backoff": INTERRUPTED,
    "signal-SIGINT-in-bash-tool": ("failed", "E004", f"{OPUS} > {ONE} > result error"),
    "signal-SIGINT-midstream": INTERRUPTED,
    "signal-SIGINT-midstream-json": ("failed", "E004", f"{NOTHING} > result error"),
    # The result counts nothing; what was streamed before the interrupt does.
    "signal-SIGINT-midstream-partial": ("failed", "E004", f"{OPUS} > usage 120/1/1000/0 > result error"),
    # Interrupted in text mode it exits with 0 and prints nothing.
    "signal-SIGINT-midstream-text": ("truncated", "E503", ""),
    "signal-SIGKILL-in-bash-tool": ("crashed", "E002", OPUS),
    "signal-SIGKILL-midstream": ("crashed", "E002", OPUS),
    "signal-SIGPIPE-midstream": ("timeout", "E001", OPUS),
    "signal-SIGQUIT-midstream": ("crashed", "E002", OPUS),
    "signal-SIGTERM-midstream": ("crashed", "E002", OPUS),
    "signal-SIGTERM-midstream-json": ("crashed", "E002", ""),
    "signal-SIGTERM-midstream-text": ("crashed", "E002", ""),
    "slow-reader-1MB-stream": ("truncated", "E503", OPUS),
    "stdout-closed-early": ("truncated", "E503", f"{OPUS} > usage 120/1/1000/0"),
    "stop-max_tokens": ("capped", "E509", f"{OPUS} > usage 480/36/4000/0 $0.0053 > result error"),
    "stop-refusal": ("refused", "E508", f"{OPUS} > {ONE} > result error"),
    "system-prompt": OK_ONE,
    "tool-acceptEdits-write": OK_TWO,
    "tool-allowedTools-bash": OK_TWO,
    "tool-bash-json": ("ok", "", f"{TWO} > result ok"),
    "tool-bash-partial": OK_TWO,
    "tool-bash-stream": OK_TWO,
    "tool-bash-text": ("ok", "", ""),
    "tool-denied-default-mode": OK_TWO,
    "tool-denied-dontAsk": OK_TWO,
    "tool-disallowed": OK_TWO,
    "tool-inspect-child-env": OK_TWO,
    "tool-parallel-two": OK_TWO,
    "tool-read-image": OK_TWO,
    "tool-setsid-child-then-exit": OK_TWO,
    # The subagent's request is in modelUsage, not in usage.
    "tool-subagent-Task": ("ok", "", f"{OPUS} > usage 360/27/3000/0 $0.003975 > result ok"),
    "tool-tools-empty": OK_ONE,
    "tool-write-stream": OK_TWO,
    "usage-limit-apikey-unified-noretry": TOO_MANY_AT_ONCE,
    # Its retries were still short when the recording stopped it.
    "usage-limit-apikey-unified-stream": ("timeout", "E001", OPUS),
    "usage-limit-oauth-five_hour-json": (
        "rate_limited",
        "E104",
        f"limited quota @1795396680 > {NOTHING} > result error",
    ),
    "usage-limit-oauth-five_hour-partial": (
        "rate_limited",
        "E104",
        f"{SONNET} > limited five_hour @1795396711 > {NOTHING} > result error",
    ),
    "usage-limit-oauth-five_hour-text": ("rate_limited", "E104", ""),
    "usage-limit-oauth-midsession-stream": (
        "rate_limited",
        "E104",
        f"{SONNET} > limited five_hour @1795396733 > {ONE_SONNET} > result error",
    ),
    "usage-limit-oauth-seven_day-stream": (
        "rate_limited",
        "E104",
        f"{SONNET} > limited seven_day @1795396704 > {NOTHING} > result error",
    ),
    "usage-limit-oauth-seven_day_opus-stream": (
        "rate_limited",
        "E104",
        f"{SONNET} > limited seven_day_opus @1795396705 > {NOTHING} > result error",
    ),
}

CLAUDE = load_backend("claude_cli")


def format_of(argv: list[str]) -> str:
    return argv[argv.index("--output-format") + 1] if "--output-format" in argv else "text"


@needs_captures
def test_every_recording_is_in_the_table() -> None:
    assert cases("claude") == sorted(EXPECTED)


@needs_captures
@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_recording(case: str) -> None:
    recording = load("claude", case)
    events, verdict = replay(CLAUDE, recording, {"output_format": format_of(recording.meta["argv"])})
    assert (verdict.name, verdict.code, story(events)) == EXPECTED[case]
    assert not verdict.code or (verdict.message and verdict.evidence), "a failure says what shows it"
