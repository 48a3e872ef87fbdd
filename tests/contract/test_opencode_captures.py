"""OpenCode 1.18.33, as recorded: each case's events and verdict, written by hand from the recording."""

from __future__ import annotations

import pytest

from backends import load as load_backend
from backends.base import Ending, Event, Limited, Result, Waiting
from tests.contract.recordings import cases, load, needs_captures, replay, run_of, story

BEGUN = "session -"
ONE, TWO = "usage 120/25/1000/0 $0.001035", "usage 240/50/2000/0 $0.00207"
OK_ONE = ("ok", "", f"{BEGUN} > {ONE} > result ok")
OK_TWO = ("ok", "", f"{BEGUN} > {TWO} > result ok")
FAILED = f"{BEGUN} > result error"
KILLED = ("crashed", "E002", BEGUN)
INTERRUPTED = ("failed", "E004", BEGUN)
#: It retries without a word unless its log is asked for, which these recordings did not.
SILENT = ("timeout", "E001", "")

EXPECTED = {
    "400-context-json": ("failed", "E507", FAILED),
    "401-json": ("auth", "E502", FAILED),
    "401-text": ("auth", "E502", ""),
    "403-json": ("auth", "E502", FAILED),
    "404-json": ("failed", "E506", FAILED),
    "429-insufficient_quota-json": SILENT,
    "429-plain-full-exhaust-json": ("rate_limited", "E101", f"{BEGUN} > limited requests > result error"),
    "429-retryafter2-json": ("rate_limited", "E101", f"{BEGUN} > limited requests @1795392005 > result error"),
    "429-retryafter3600-json": SILENT,
    "429-text": SILENT,
    "500-json": SILENT,
    "503-overloaded-json": SILENT,
    "agent-prompt-conf": OK_ONE,
    "conn-refused-json": SILENT,
    "dir-flag": OK_ONE,
    "err-invalid-flag": ("failed", "E301", ""),
    # All that it says is UnknownError.
    "err-model-unknown-provider": ("failed", "E506", FAILED),
    "finish-length-json": ("capped", "E509", f"{BEGUN} > {ONE}"),
    # It would ask again for ever: ended at the third step without a reason.
    "midstream-eof-json": ("failed", "E503", f"{BEGUN} > usage 0/0/0/0 $0 > result error > usage 0/0/0/0 $0"),
    "midstream-err-json": ("timeout", "E001", BEGUN),
    "midstream-reset-json": OK_ONE,
    "nonutf8-stdin": OK_ONE,
    "ok-json": OK_ONE,
    "ok-json-thinking": OK_ONE,
    "ok-stdin-only": OK_ONE,
    "ok-stdin-plus-arg": OK_ONE,
    "ok-text": ("ok", "", ""),
    "print-logs-401": ("auth", "E502", FAILED),
    # One failed try is a hiccup.
    "print-logs-429": OK_ONE,
    "project-config-disabled": OK_ONE,
    "project-config-pure": OK_ONE,
    "prompt-leading-dash": OK_ONE,
    "prompt-leading-slash": OK_ONE,
    "resume-by-id": OK_ONE,
    "resume-continue": OK_ONE,
    "resume-missing-err": ("no_session", "E009", ""),
    "session-first": OK_ONE,
    "signal-SIGINT-in-tool": INTERRUPTED,
    "signal-SIGINT-midstream": INTERRUPTED,
    "signal-SIGKILL-in-tool": KILLED,
    "signal-SIGKILL-midstream": KILLED,
    "signal-SIGTERM-in-tool-group": KILLED,
    "signal-SIGTERM-midstream": KILLED,
    "slow-reader-1MB": ("truncated", "E503", BEGUN),
    "stdin-open-never-closed": SILENT,
    # Sixteen steps in 40 s: its own cap on steps is only advice.
    "steps-limit-conf": ("timeout", "E001", f"{BEGUN} > usage 1920/400/16000/0 $0.01656"),
    "tool-bash-auto-json": OK_TWO,
    "tool-bash-default-json": OK_TWO,
    "tool-bash-permission-ask-auto": OK_TWO,
    "tool-bash-timeout": OK_TWO,
    # A refused permission ends it with 0 and without an answer.
    "tool-external-dir-default": ("failed", "E009", f"{BEGUN} > {ONE}"),
    "tool-long-output-2MB": OK_TWO,
    "tool-nohup-child-then-exit": OK_TWO,
    "tool-nonutf8-output": OK_TWO,
    "tool-write-default-json": OK_TWO,
}

OPENCODE = load_backend("opencode_cli")


@needs_captures
def test_every_recording_is_in_the_table() -> None:
    assert cases("opencode") == sorted(EXPECTED)


@needs_captures
@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_recording(case: str) -> None:
    recording = load("opencode", case)
    form = "stream-json" if "--format" in recording.meta["argv"] else "text"
    events, verdict = replay(OPENCODE, recording, {"output_format": form})
    assert (verdict.name, verdict.code, story(events)) == EXPECTED[case]
    assert not verdict.code or (verdict.message and verdict.evidence), "a failure says what shows it"


# ---- lines of the real program, as `make test-agents` met them ------------------------------------------------------

LOGGED = (
    'timestamp=2026-11-23T04:11:43.743Z level=ERROR run=43eed43c message="stream error" providerID=loopback'
    ' modelID=loopback-1 session.id=ses_df965fb9dffektDkBFwZoBV0ld small=%s agent=%s mode=primary error.error="%s"'
)


def tries(count: int, said: str, small: bool = False) -> list[Event]:
    """What the parser makes of so many failed tries."""
    line = LOGGED % ("true" if small else "false", "title" if small else "build", said)
    fed = load_backend("opencode_cli").parser(run_of())
    return [event for _ in range(count) for event in fed.feed("stderr", line.encode())]


def test_a_used_up_quota_is_a_limit_at_the_first_try() -> None:
    said = "AI_APICallError: You exceeded your current quota, please check your plan and billing details."
    [event] = tries(1, said)
    assert isinstance(event, Limited)
    assert event.kind == "quota"


def test_a_service_that_is_not_there_is_given_up_at_the_third_try() -> None:
    said = "AI_APICallError: Cannot connect to API: Unable to connect. Is the computer able to access the url?"
    assert tries(2, said) == []
    [event] = tries(3, said)
    assert isinstance(event, Result)
    assert (event.ok, event.stop) == (False, True)


def test_what_it_asks_for_a_title_is_no_try() -> None:
    assert tries(5, "AI_RetryError: Failed after 3 attempts. Last error: Cannot connect to API", small=True) == []


ASKS = (
    "timestamp=2026-11-23T05:56:41.782Z level=INFO run=dc4f054f message=stream providerID=loopback modelID=loopback-1"
    " session.id=ses_df905caf5ffejHwKahFh9rc6YC small=%s agent=build mode=primary"
)
LIMIT = LOGGED % ("false", "build", "AI_APICallError: this request would exceed your rate limit")
INFORMED = (
    "timestamp=2026-11-23T05:56:44.872Z level=INFO run=dc4f054f message=evaluated permission=bash"
    " pattern=\"grep 'Segmentation fault' core; echo error: rate limit\" action.permission=*"
)


def heard(*lines: str) -> list[Event]:
    fed = load_backend("opencode_cli").parser(run_of())
    return [event for line in lines for event in fed.feed("stderr", line.encode())]


def test_a_retry_that_does_not_come_is_a_limit_slept_through() -> None:
    asks = ASKS % "false"
    assert heard(asks, LIMIT) == [Waiting(12.0)]
    assert heard(asks, LIMIT, ASKS % "true", asks, LIMIT, asks) == [
        Waiting(12.0), Waiting(None), Waiting(14.0), Waiting(None),
    ]  # fmt: skip
    assert heard(LIMIT) == [], "one that does not tell when it asks is not waited for"
    *_, last = heard(asks, LIMIT, asks, LIMIT, asks, LIMIT)
    assert isinstance(last, Limited), "the third in a row"


def test_what_it_slept_through_is_its_verdict() -> None:
    parser = load_backend("opencode_cli").parser(run_of())
    for line in (ASKS % "false", LIMIT):
        parser.feed("stderr", line.encode())
    verdict = parser.verdict(Ending(None, 2, "limited", f"{INFORMED}\n{LIMIT}\n", "", 1e9))
    assert (verdict.name, verdict.code) == ("rate_limited", "E101")
    assert verdict.limit
    assert verdict.limit.kind == "requests"


def test_what_its_log_quotes_is_no_evidence() -> None:
    parser = load_backend("opencode_cli").parser(run_of())
    assert parser.feed("stderr", INFORMED.encode()) == ()
    verdict = parser.verdict(Ending(1, None, None, f"{INFORMED}\n", "", 1e9))
    assert (verdict.name, verdict.code) == ("failed", "E009")
