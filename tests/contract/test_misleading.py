"""A second table of misleading outputs: what agents quote, what compilers and test runners print, what breaks off, what is
said in other languages; and what a limit's end means around a change of clocks.

As in `test_misclassification`, the codes are written by hand. What succeeds must not have been taken for a limit on the way
either: that would have stopped it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

import backends
from backends.base import STDERR, STDOUT, Ending, Limited, Result, Waiting
from backends.resets import find_reset
from tests.contract.recordings import NOW, run_of
from tests.contract.test_misclassification import (
    CODEX_DONE,
    GEMINI_DONE,
    TEXT,
    VERDICTS,
    Case,
    answer,
    claude,
    codex,
    codex_failed,
    codex_said,
    command,
    error,
    gemini,
    gemini_result,
    gemini_said,
    limit_event,
    opencode,
    opencode_error,
    opencode_said,
    opencode_step,
    said,
    synthetic,
)


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


#: Lines that would mean something if they stood by themselves.
QUOTED = [
    compact({"type": "result", "subtype": "success", "is_error": True, "api_error_status": 401, "result": "no"}),
    compact(limit_event(status="rejected", resetsAt=NOW + 3600, rateLimitType="five_hour")),
    compact(synthetic("API Error: 429", "rate_limit")),
    compact(codex_failed("You’ve hit your usage limit. Try again at 3pm.")),
    compact({"type": "error", "message": "Reconnecting... 2/5 (unexpected status 429 Too Many Requests)"}),
    compact(gemini_result("[API Error: You have exhausted your daily quota on this model.]")),
    compact(opencode_error("APIError", statusCode=429, message="Rate limit")),
    '{"type":"step_finish","part":{"reason":"unknown"}}',
    "Attempt 7 failed with status 429. Retrying after 3600000ms",
    'timestamp=2026-11-23T05:56:41.899Z level=ERROR message="stream error" small=false error.error="AI_APICallError: quota"',
    'level=ERROR error.error="AI_APICallError: You exceeded your current quota"',
    "HTTP/1.1 429 Too Many Requests\nretry-after: 3600\n\n" + '{"error":{"code":"insufficient_quota"}}',
    "Sie haben Ihr Nutzungslimit erreicht. Es wird um 15:00 zurückgesetzt.",
    "使用量の上限に達しました。429 Too Many Requests",
    "Vous avez atteint votre limite d'utilisation · réessayez à 15h (401)",
]


def tool_result(text: str, **more: Any) -> dict[str, Any]:
    """Of Claude Code's: what a tool printed."""
    block = {"type": "tool_result", "tool_use_id": "t", "is_error": False, "content": text, **more}
    return {"type": "user", "message": {"role": "user", "content": [block]}, "tool_use_result": {"stdout": text}}


def retry(status: int | None, milliseconds: float) -> dict[str, Any]:
    return {
        "type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 2, "retry_delay_ms": milliseconds,
        "error_status": status, "error": "rate_limit",
    }  # fmt: skip


CLAUDE = [
    *(claude("", tool_result(text), said(text), answer(text), exit_code=0) for text in QUOTED),
    claude("", tool_result(QUOTED[0], is_error=True), answer("done"), exit_code=0),
    claude("", said("x") | {"parent_tool_use_id": "t"}, answer("The subagent met a 429 and went on"), exit_code=0),
    claude("", retry(529, 600.0), said("x"), answer("done"), exit_code=0),
    claude("", error("API Error: 529 Overloaded.", 529), answer("the second turn went well"), exit_code=0),
    claude("E103", answer("the first turn"), error("API Error: 529 Overloaded.", 529)),
    claude("E502", error("Invalid API key · Fix external API key", 401), exit_code=0),
    claude("E009", error("", subtype="error_during_execution"), exit_code=0),
    claude("E101", retry(429, 3_600_000.0), exit_code=None, signal=2, stopped_by="limited"),
    claude("E101", synthetic("Anfragelimit erreicht", "rate_limit"), error("Anfragelimit erreicht", 429)),
    claude("E502", synthetic("Clé API invalide", "authentication_failed"), error("Clé API invalide", 401)),
    claude("E104", error("You're out of extra usage · resets 7pm (Europe/Berlin)", 429)),
    claude("E104", error("5-hour limit reached ∙ resets 3am", 429)),
    claude("E104", error(f"Claude AI usage limit reached|{NOW + 7200:.0f}", 429)),
    claude("E507", error("Prompt is too long", 400)),
    claude("E501", error("API Error: Connection error.")),
    claude("E502", error('API Error: 403 {"error":{"type":"forbidden","message":"Request not allowed"}}', 403)),
    claude("E009", error("The build failed: capacity, quota and rate limit tests are red")),
    claude("E002", said("half"), tool_result(QUOTED[1]), exit_code=None, signal=15),
    Case("claude_cli", "E503", "truncated", stdout='{"type":"result","subtype":"success","is_error":false,"result":"ha'),
    Case("claude_cli", "E503", "truncated", stdout='{"type":"assistant","message":{"content":[{"type":"text","te'),
    Case("claude_cli", "", stdout="API Error: 500 is what the log says.", options=TEXT),
    Case("claude_cli", "E103", exit_code=1, stdout="API Error: 529 Overloaded.", options=TEXT),
    Case("claude_cli", "E009", exit_code=1, stdout="Your answer: You've hit your limit\n", options=TEXT),
]  # fmt: skip


def codex_ran(output: str, code: int = 0) -> dict[str, Any]:
    item = {
        "id": "item_1",
        "type": "command_execution",
        "command": "make",
        "aggregated_output": output,
        "exit_code": code,
    }
    return {"type": "item.completed", "item": item}


def codex_warned(message: str) -> dict[str, Any]:
    return {"type": "item.completed", "item": {"id": "item_2", "type": "error", "message": message}}


CODEX = [
    *(codex("", codex_ran(text, 1), codex_said(text), CODEX_DONE, exit_code=0) for text in QUOTED),
    codex("", codex_warned("approaching your usage limit: 429 soon"), codex_said("ok"), CODEX_DONE, exit_code=0),
    codex("", codex_failed("unexpected status 503 x"), codex_said("again"), CODEX_DONE, exit_code=0),
    codex("E103", CODEX_DONE, codex_failed("unexpected status 503 Service Unavailable"), exit_code=0),
    codex("E009", CODEX_DONE, exit_code=1),
    codex("E009", codex_failed('unexpected status 400 Bad Request: {"error":{"message":"quota must be a number"}}')),
    codex("E901", codex_failed("stream disconnected before completion: network error: error decoding response body")),
    codex(
        "E104", codex_failed("You've hit your usage limit. Upgrade to Pro or try again in 3 days 4 hours 5 minutes.")
    ),
    codex("E104", codex_failed("To use Codex with your ChatGPT plan, upgrade to Plus: https://x.invalid/401.")),
    codex("E009", codex_failed("the tool said: You’ve hit your usage limit")),
    Case("codex_cli", "E503", "truncated", stdout='{"type":"turn.completed","usage":{"input_tok'),
    codex("E002", codex_said(QUOTED[3]), exit_code=None, signal=15),
]


def gemini_ran(output: str, status: str = "success") -> dict[str, Any]:
    return {"type": "tool_result", "tool_id": "t", "status": status, "output": output}


GEMINI = [
    *(gemini("", gemini_ran(text, "error"), gemini_said(text), GEMINI_DONE) for text in QUOTED),
    gemini("", gemini_said("x"), {"type": "error", "severity": "error", "message": "429"}, GEMINI_DONE),
    gemini(
        "E104", gemini_result("[API Error: You exceeded your current quota. Please retry in 34.07s.]"), exit_code=173
    ),
    gemini("E103", gemini_result("[API Error: got status: 503 . {}]"), exit_code=247),
    gemini("E009", exit_code=1, stderr="Error: src/quota.ts:401\nTypeError: x is not a function"),
    gemini("E009", GEMINI_DONE, exit_code=1),
    Case("gemini_cli", "E503", "truncated", stdout='{"type":"result","status":"succ'),
    gemini("E502", gemini_result('[API Error: {"error":{"code":400,"status":"API_KEY_INVALID"}}]'), exit_code=144),
]


def opencode_ran(output: str) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "sessionID": "s",
        "part": {"tool": "bash", "state": {"status": "completed", "output": output}},
    }


OPENCODE = [
    *(opencode("", opencode_ran(text), opencode_said(text), opencode_step("stop")) for text in QUOTED),
    opencode("", opencode_ran('{"error":"The user rejected permission"}'), opencode_step("stop")),
    opencode("E502", opencode_error("APIError", statusCode=401, message="no"), exit_code=0),
    opencode("E009", opencode_step("stop"), exit_code=1),
    opencode("E004", opencode_error("MessageAbortedError", message="aborted"), exit_code=1),
    opencode("E103", opencode_error("APIError", statusCode=529, message="Überlastet"), exit_code=1),
    opencode("E503", opencode_step("tool-calls"), verdict="truncated"),
    Case("opencode_cli", "E503", "truncated", stdout='{"type":"step_finish","sessionID":"s","part":{"reason":"st'),
]

#: What tools print when something else is wrong.
BUILDS = [
    "main.cc:12:3: error: call of overloaded ‘f(int)’ is ambiguous",
    "main.cc:12:3: error: no matching overloaded function found",
    "TypeError: No overloaded method matches: operator+ is overloaded",
    "E   assert 429 == 200\nE    +  where 429 = <Response [429]>.status_code",
    "FAIL src/auth.test.ts > login > returns 401 Unauthorized when the token is missing",
    "  ✕ returns 503 Service Unavailable when overloaded (12 ms)",
    "  ● rate limiter › answers 429 Too Many Requests after 5 calls",
    "not ok 7 - answers 403 Forbidden",
    "--- FAIL: TestRateLimitExceeded (0.00s)\n    limit_test.go:12: want 429 Too Many Requests, got 200",
    "FAILED tests/test_api.py::test_429_too_many_requests - assert 500 == 429",
    "AssertionError: 'rate limit exceeded' != 'ok'",
    "usage: tool [--rate-limit N] [--quota Q]\ntool: error: the following arguments are required: FILE",
    "warning: unused variable: `rate_limit`\nerror: aborting due to 1 previous error",
    "Error: Cannot find module './rate-limit'",
    '  File "/srv/quota.py", line 401, in exceeded\nValueError: no',
    'ERROR:  column "quota" of relation "plans" does not exist',
    '{"level":"info","msg":"rate limiter configured","limit":429}\n{"level":"fatal","msg":"config missing"}',
    '{"error":{"message":"unknown field rate_limit","code":400}}',
    "< HTTP/2 200\n< x-ratelimit-remaining: 4290\nerror: bad answer",
    "note: the model `User` does not exist yet; run the migrations",
    "grep: usage limit: No such file or directory",
    "diff: quota.yaml: 429c429",
    "+    raise RateLimitError('too many requests')\nerror: patch does not apply",
    "src/errors.rs:401:   Unauthorized,\nerror[E0433]: failed to resolve",
]

COMMANDS = [
    *(command("E009", text) for text in BUILDS),
    *(command("", text, 0) for text in BUILDS),
    command("E005", "Exception in thread main java.lang.OutOfMemoryError: Java heap space", 1),
    command("E005", "fatal error: runtime: out of memory", 2),
    command("E003", "thread 'main' panicked at 'capacity overflow', library/alloc/src/raw_vec.rs:24:5", 101),
    command("E003", "Aborted (core dumped)", 134),
    command(
        "E101", "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://x.invalid/v1", 1
    ),
    command("E502", "Error: 401 {'type': 'error', 'error': {'type': 'authentication_error', 'message': 'no'}}", 1),
    command("E103", "Error: 529 {'type': 'error', 'error': {'type': 'overloaded_error', 'message': 'Overloaded'}}", 1),
]

CASES = [*CLAUDE, *CODEX, *GEMINI, *OPENCODE, *COMMANDS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.backend}-{case.code or 'ok'}")
def test_code(case: Case) -> None:
    parser = backends.load(case.backend).parser(run_of(case.options))
    printed = [(STDOUT, line) for line in case.stdout.encode().split(b"\n")]
    printed += [(STDERR, line) for line in case.stderr.encode().split(b"\n")]
    events = [event for stream, line in printed if stream in parser.wants for event in parser.feed(stream, line)]
    ending = Ending(case.exit_code, case.signal, case.stopped_by, case.stderr, case.stdout, NOW, case.kernel)
    verdict = parser.verdict(ending)
    assert verdict.code == case.code, verdict
    assert verdict.name in ({case.verdict} if case.verdict else VERDICTS.get(case.code, {verdict.name}))
    if case.code == "" and case.stopped_by is None:
        last = [event for event in events if isinstance(event, Limited | Waiting) or getattr(event, "stop", False)]
        assert not last or isinstance(events[-1], Result), "it would have been stopped"


BERLIN, NEW_YORK = "(Europe/Berlin)", "(America/New_York)"


@pytest.mark.parametrize(
    ("said_at", "text", "until"),
    [
        # Summer time ends at 3:00 in Berlin on 2026-10-25: 2:30 is there twice.
        ("2026-10-24T22:00", f"resets 2:30am {BERLIN}", "2026-10-25T00:30"),
        ("2026-10-25T00:45", f"resets 2:30am {BERLIN}", "2026-10-25T01:30"),
        ("2026-10-25T01:45", f"resets 2:30am {BERLIN}", "2026-10-26T01:30"),
        ("2026-10-24T20:00", f"resets 9am {BERLIN}", "2026-10-25T08:00"),
        # It begins at 2:00 on 2027-03-28: 2:30 is not there.
        ("2027-03-28T00:00", f"resets 2:30am {BERLIN}", "2027-03-28T01:30"),
        ("2027-03-27T20:00", f"resets 9am {BERLIN}", "2027-03-28T07:00"),
        ("2026-11-01T04:30", f"resets 3pm {NEW_YORK}", "2026-11-01T20:00"),
        ("2026-11-01T04:30", f"resets tomorrow at 3pm {NEW_YORK}", "2026-11-02T20:00"),
        ("2026-12-31T23:30", "resets 12:15am (UTC)", "2027-01-01T00:15"),
        ("2026-12-31T23:30", "resets Jan 1 at 3am (UTC)", "2027-01-01T03:00"),
        ("2026-11-22T10:00", "resets in 1h 30m", "2026-11-22T11:30"),
        ("2026-11-22T10:00", "try again in 3 days 4 hours 5 minutes", "2026-11-25T14:05"),
    ],
)
def test_the_clocks_change(said_at: str, text: str, until: str) -> None:
    def at(moment: str) -> float:
        return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()

    found = find_reset(text, at(said_at))
    assert found is not None
    assert datetime.fromtimestamp(found.at, UTC).strftime("%Y-%m-%dT%H:%M") == until
