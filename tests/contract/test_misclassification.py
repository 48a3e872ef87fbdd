"""Outputs and endings, and the code each must have: real sentences of agents and tools, and invented ones that try to mislead.

An answer may be full of alarming words; only an error record, the signal, the exit code and stderr of a failed attempt are
evidence. Written by hand from the table of codes, never from what the code under test says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import backends
from backends.base import STDERR, STDOUT, Ending, Limited
from tests.contract.recordings import NOW, run_of


class Case(NamedTuple):
    backend: str
    code: str
    """Empty for ok."""
    verdict: str = ""
    """Empty: whatever belongs to the code."""
    exit_code: int | None = 0
    signal: int | None = None
    stdout: str = ""
    stderr: str = ""
    stopped_by: str | None = None
    options: dict[str, Any] = {}  # noqa: RUF012
    kernel: str = ""


def command(code: str, stderr: str = "", exit_code: int | None = 1, **others: Any) -> Case:
    return Case("command", code, exit_code=exit_code, stderr=stderr, **others)


# ---- commands -------------------------------------------------------------------------------------------------------

ALARMING = [
    "Error: rate limit exceeded, 429 Too Many Requests, try again later",
    "The capacity planning document covers quota, usage limits and authentication (401, 403).",
    "HTTP 503 Service Unavailable is what clients see; retry-after: 3600",
    "Segmentation fault (core dumped) was the symptom; SIGSEGV in malloc",
    "FATAL: out of memory: Killed process 4242 (node)",
    "command not found: foo\nsh: 1: foo: not found",
    "You've hit your session limit · resets 3pm",
    "Invalid API key · Please run /login",
    "litellm.RateLimitError: quota exceeded",
    "panicked at src/main.rs:3:9",
]

COMMANDS = [
    *(command("", exit_code=0, stdout=text) for text in ALARMING),
    *(command("", stderr=text, exit_code=0) for text in ALARMING),
    command("E009", exit_code=1),
    command("E009", "boom", 1),
    command("E009", "make: *** [Makefile:3: all] Error 2", 2),
    command("E009", exit_code=3, stdout="429 rate limit quota capacity try again later"),
    command("E009", exit_code=255, stdout="authentication failed, overloaded"),
    command("E009", 'Traceback (most recent call last):\n  File "a.py", line 429, in f\nValueError: no', 1),
    command("E009", "src/rate_limit.py:12: error: incompatible types", 1),
    command("E009", "FAILED tests/test_rate_limit.py::test_quota - AssertionError: capacity", 1),
    command("E009", "AssertionError: expected the rate limit to be 5", 1),
    command("E009", "OSError: [Errno 122] Disk quota exceeded: '/data'", 1),
    command("E009", "tar: write error: Disk quota exceeded", 2),
    command("E009", "error: capacity must be a positive integer", 1),
    command("E009", "IndexError: deque capacity of 5", 1),
    command("E009", "ParseError on line 429: unexpected token", 1),
    command("E009", "warning: 429 passed in 3.2s\nerror: 1 failed", 1),
    command("E009", "ls: cannot access 'authentication': No such file or directory", 2),
    command("E009", "rm: cannot remove 'x': Permission denied", 1),
    command("E009", "cp: cannot stat '429': No such file or directory", 1),
    command("E009", "KeyError: 'api_key'", 1),
    command("E009", "panic: test timed out after 10m0s", 2),
    command("E009", "error[E0401]: can't use generic parameters from outer item", 101),
    command("E009", "we are well below the rate limit; something else broke", 1),
    command("E009", "There is no usage limit on this plan\nerror: bad input", 1),
    command("E009", "    at quotaCheck (/srv/app/rate-limit.js:429:11)\nTypeError: x is undefined", 1),
    command("E009", "diff --git a/docs/401 b/docs/401\nerror: patch failed", 1),
    command("E009", "npm ERR! code ELIFECYCLE\nnpm ERR! errno 1", 1),
    # its exit code and signal
    command("E001", exit_code=124),
    command("E001", "Terminated", 124),
    command("E002", exit_code=143),
    command("E002", exit_code=137),
    command("E002", exit_code=129),
    command("E002", exit_code=None, signal=9),
    command("E002", exit_code=None, signal=15),
    command("E002", exit_code=None, signal=1),
    command("E003", exit_code=None, signal=11),
    command("E003", exit_code=None, signal=6),
    command("E003", exit_code=None, signal=7),
    command("E003", exit_code=None, signal=8),
    command("E003", exit_code=None, signal=4),
    command("E003", exit_code=139),
    command("E003", exit_code=134),
    command("E003", "Segmentation fault (core dumped)", 139),
    command("E003", "thread 'main' panicked at src/main.rs:3:9:\nindex out of bounds", 101),
    command("E003", "Fatal Python error: Aborted", None, signal=6),
    command("E004", exit_code=None, signal=2),
    command("E004", exit_code=130),
    command("E004", "KeyboardInterrupt", 130),
    command("E005", exit_code=None, signal=9, kernel="memory.events: oom_kill 1"),
    command("E005", exit_code=137, kernel="Memory cgroup out of memory: Killed process 77 (node)"),
    command("E005", "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", 134),
    command("E005", "Out of memory: Killed process 77 (python3)", None, signal=9),
    command("E005", "MemoryError", 1),
    command("E005", "terminate called after throwing an instance of 'std::bad_alloc'", None, signal=6),
    # what Mozart did
    command("E001", "429 too many requests", None, signal=9, stopped_by="timeout"),
    command("E001", exit_code=0, stopped_by="timeout"),
    command("E006", exit_code=None, signal=15, stopped_by="stalled"),
    command("E006", exit_code=None, signal=15, stopped_by="no_output"),
    command("E007", exit_code=None, signal=15, stopped_by="post_result"),
    command("E004", exit_code=None, signal=15, stopped_by="cancelled", verdict="cancelled"),
    # programs that are not there
    command("E505", "sh: 1: frobnicate: not found", 127),
    command("E505", "bash: line 1: frobnicate: command not found", 127),
    command("E505", "env: ‘frobnicate’: No such file or directory", 127),
    command("E505", exit_code=127),
    command("E009", "assertion `left == right` failed", 127),
    command("E505", "/bin/sh: 1: ./run.sh: Permission denied", 126),
    command("E505", "sh: 1: claude: not found\nrequest timed out", 127),
    # limits, on stderr of a failure
    command("E101", "HTTP 429", 1, verdict="rate_limited"),
    command("E101", "curl: (22) The requested URL returned error: 429", 22),
    command("E101", "openai.RateLimitError: Error code: 429 - slow", 1),
    command("E101", '{"type":"error","error":{"type":"rate_limit_error","message":"no"}}', 1),
    command("E101", "HTTP/1.1 429", 1),
    command("E101", "HTTP/2 429 x", 1),
    command("E101", '{"error":{"code":"rate_limit_exceeded","url":"https://x.invalid/a/b.json"}}', 1),
    command("E102", "Error: rate limit exceeded", 1, verdict="rate_limited"),
    command("E102", "Error: rate limit exceeded for the project test", 1),
    command("E102", "fatal: you are being rate-limited", 128),
    command("E102", "Too many requests. Try again later.", 1),
    command("E102", "service says: try again later", 75),
    command("E102", "gh: API quota used up", 1),
    command("E102", "tool: BUSY-17", 1, options={"rate_limit_patterns": [r"BUSY-\d+"]}),
    command("E009", "Error: rate limit exceeded", 1, options={"rate_limit_patterns": [r"BUSY-\d+"]}),
    command("E104", "Claude usage limit reached. Resets at 15:00", 1),
    command("E104", "You exceeded your current quota, please check your plan", 1),
    command("E104", "Error code: 429 - {'error': {'code': 'insufficient_quota'}}", 1),
    command("E103", "anthropic.APIStatusError: overloaded_error: Overloaded", 1, verdict="overloaded"),
    command("E103", "HTTP 529", 1),
    command("E103", "503 Service Unavailable", 1),
    command("E103", "the model is at capacity", 1),
    # the network and the credentials, and which of two is the root
    command("E502", "HTTP 401", 1),
    command("E502", "401 Unauthorized", 1),
    command("E502", "403 Forbidden", 1),
    command("E502", "fatal: Authentication failed for 'https://example.org/x.git/'", 128),
    command("E502", "openai.AuthenticationError: Incorrect API key provided", 1),
    command("E502", "Error: OPENAI_API_KEY environment variable is not set", 1),
    command("E502", "401 Unauthorized\n429 Too Many Requests", 1),
    command("E502", "429 Too Many Requests\n401 Unauthorized", 1),
    command("E902", "curl: (6) Could not resolve host: example.invalid", 6),
    command("E902", "getaddrinfo ENOTFOUND api.example.invalid", 1),
    command("E902", "ssh: Could not resolve hostname x: Temporary failure in name resolution", 255),
    command("E903", "curl: (60) SSL certificate problem: self-signed certificate", 60),
    command("E903", "ssl.SSLCertVerificationError: certificate verify failed", 1),
    command("E904", "connect ETIMEDOUT 10.0.0.1:443", 1),
    command("E904", "curl: (28) Connection timed out after 10001 milliseconds", 28),
    command("E901", "Network is unreachable", 1),
    command("E901", "TypeError: fetch failed", 1),
    command("E501", "curl: (7) Failed to connect to localhost port 1", 7),
    command("E501", "ConnectionRefusedError: [Errno 111] Connection refused", 1),
    command("E501", "Error: read ECONNRESET", 1),
    command("E504", "Request timed out", 1),
    command("E504", "HTTP 504", 1),
    command("E504", "HTTP 408", 1),
    command("E902", "Could not resolve host: x\nRequest timed out", 1),
    command("E506", "Error: model_not_found", 1),
    command("E506", "The model `gpt-9` does not exist", 1),
    command("E507", "This model's maximum context length is 8192 tokens", 1),
]  # fmt: skip


# ---- Claude Code ----------------------------------------------------------------------------------------------------

TEXT = {"output_format": "text"}
INIT = {"type": "system", "subtype": "init", "session_id": "s", "model": "m"}


def claude(code: str, *events: dict[str, Any], exit_code: int | None = 1, **others: Any) -> Case:
    return Case("claude_cli", code, exit_code=exit_code, stdout=lines(INIT, *events), **others)


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events)


def said(text: str) -> dict[str, Any]:
    return {"type": "assistant", "message": {"id": "1", "content": [{"type": "text", "text": text}]}}


def answer(text: str, **others: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "result": text} | others


def error(text: str, status: int | None = None, **others: Any) -> dict[str, Any]:
    return answer(text, is_error=True, api_error_status=status) | others


def synthetic(text: str, kind: str) -> dict[str, Any]:
    return said(text) | {"error": kind}


def limit_event(**info: Any) -> dict[str, Any]:
    return {"type": "rate_limit_event", "rate_limit_info": info}


CLAUDE = [
    *(claude("", said(text), answer(text), exit_code=0) for text in ALARMING),
    claude("", answer("API Error: 529 Overloaded is what I fixed"), exit_code=0),
    claude("", answer("Prompt is too long, I shortened it"), exit_code=0),
    claude("", answer(""), exit_code=0),
    claude("", answer("fine"), exit_code=0, stderr="Error: rate limit 429"),
    claude("", limit_event(status="allowed_warning", resetsAt=NOW + 3600, rateLimitType="five_hour"), answer("x"), exit_code=0),
    claude("", limit_event(status="rejected", isUsingOverage=True, overageStatus="allowed"), answer("x"), exit_code=0),
    claude("", limit_event(status="rejected", overageStatus="allowed", resetsAt=NOW + 60), answer("x"), exit_code=0),
    claude("E503", said("all done"), exit_code=0, verdict="truncated"),
    claude("E503", exit_code=0, verdict="truncated"),
    claude("E009", answer("fine"), exit_code=1),
    claude("E003", answer("fine"), exit_code=None, signal=11),
    claude("E002", said("half a"), exit_code=143),
    claude("E002", said("half a"), exit_code=None, signal=9),
    claude("E003", said("half a"), exit_code=None, signal=11, stderr="oh no: Bun has crashed."),
    claude("E005", said("half a"), exit_code=None, signal=9, kernel="memory.events: oom_kill 1"),
    claude("E101", synthetic("API Error: x", "rate_limit"), error("API Error: Request rejected (429)", 429)),
    claude("E104", error("You've hit your weekly limit · resets Nov 25 at 3am (UTC)", 429)),
    claude("E104", error("You’ve reached your Opus limit · resets 9pm (America/New_York)", 429)),
    claude("E104", limit_event(status="rejected", resetsAt=NOW + 3600, rateLimitType="five_hour"), error("limit", 429)),
    claude("E104", synthetic("Credit balance is too low", "billing_error"), error("Credit balance is too low", 400)),
    claude("E103", error("API Error: 529 Overloaded.", 529)),
    claude("E103", error("API Error: 500 Internal server error", 500)),
    claude("E103", error("API Error: 502 Bad Gateway", 502)),
    claude("E504", error("API Error: 408 slow", 408)),
    claude("E504", error("API Error: 504 Gateway Timeout", 504)),
    claude("E504", error("Request timed out")),
    claude("E501", error("API Error: Unable to connect to API (ConnectionRefused)")),
    claude("E902", error("API Error: Unable to connect to API (FailedToOpenSocket)")),
    claude("E903", error("API Error: Unable to connect to API: Self-signed certificate detected")),
    claude("E503", error("API Error: API returned an empty or malformed response (HTTP 200)")),
    claude("E502", error("Invalid API key · Fix external API key", 401)),
    claude("E502", error("Not logged in · Please run /login")),
    claude("E502", error("Failed to authenticate. API Error: 403 revoked", 403)),
    claude("E502", error("Your ANTHROPIC_API_KEY belongs to a disabled organization · x", 400)),
    claude("E506", error("There's an issue with the selected model (x). It may not exist", 404)),
    claude("E507", error("Prompt is too long · 210000 tokens", 400, terminal_reason="prompt_too_long")),
    claude("E507", error("too large", 413)),
    claude("E508", error("API Error: Claude Code is unable to respond", stop_reason="refusal")),
    claude("E509", error("", subtype="error_max_turns", errors=["Reached maximum number of turns (2)"])),
    claude("E509", error("", subtype="error_max_budget_usd")),
    claude("E004", error("", subtype="error_during_execution", terminal_reason="aborted_streaming"), exit_code=0),
    claude("E009", error("API Error: 400 messages.0: 529 is a bad thing", 400)),
    claude("E009", error("something the rate limit service at 401 Main Street said")),
    Case("claude_cli", "E301", exit_code=1, stderr="error: unknown option '--frob'"),
    Case("claude_cli", "E305", exit_code=1, stderr="Error: Invalid MCP configuration: bad JSON"),
    Case("claude_cli", "E306", exit_code=1, stderr="Error: When using --print, --output-format=stream-json requires --verbose"),
    Case("claude_cli", "E505", exit_code=127, stderr="env: ‘node’: No such file or directory"),
    claude("E001", error("API Error: 529 Overloaded.", 529), exit_code=None, signal=9, stopped_by="timeout"),
    claude("E004", exit_code=None, signal=2, stopped_by="cancelled", verdict="cancelled"),
    claude("E007", answer("fine"), exit_code=None, signal=9, stopped_by="post_result"),
    claude("E502", error("Not logged in · Please run /login"), exit_code=None, signal=9, stopped_by="post_result"),
    *(Case("claude_cli", "", exit_code=0, stdout=text, options=TEXT) for text in ALARMING),
    Case("claude_cli", "E104", exit_code=1, stdout="You've hit your session limit · resets 3pm", options=TEXT),
    Case("claude_cli", "E502", exit_code=1, stdout="Not logged in · Please run /login", options=TEXT),
    Case("claude_cli", "E009", exit_code=1, stdout="I fixed the 429 rate limit bug", options=TEXT),
]  # fmt: skip


# ---- Codex, Gemini, OpenCode, profiles ------------------------------------------------------------------------------


def codex(code: str, *events: dict[str, Any], exit_code: int | None = 1, **others: Any) -> Case:
    started = {"type": "thread.started", "thread_id": "t"}
    return Case("codex_cli", code, exit_code=exit_code, stdout=lines(started, *events), **others)


def codex_said(text: str) -> dict[str, Any]:
    return {"type": "item.completed", "item": {"id": "item_0", "type": "agent_message", "text": text}}


def codex_failed(message: str) -> dict[str, Any]:
    return {"type": "turn.failed", "error": {"message": message}}


CODEX_DONE = {"type": "turn.completed", "usage": {"input_tokens": 1, "output_tokens": 1}}
CODEX = [
    *(codex("", codex_said(text), CODEX_DONE, exit_code=0) for text in ALARMING),
    codex("", {"type": "error", "message": "Reconnecting... 1/5 (stream disconnected)"}, CODEX_DONE, exit_code=0),
    codex("", CODEX_DONE, exit_code=0, stderr="2026-11-22T23:33:18Z ERROR codex_core: 429 rate limit exceeded"),
    codex("E503", codex_said("all done"), exit_code=0, verdict="truncated"),
    codex("E101", codex_failed("exceeded retry limit, last status: 429 Too Many Requests")),
    codex("E101", codex_failed("rate limit exceeded: Rate limit reached for x. Please try again in 11s.")),
    codex("E103", codex_failed("rate limit exceeded: slow down")),
    codex("E103", codex_failed("Selected model is at capacity. Please try a different model.")),
    codex("E103", codex_failed("unexpected status 503 Service Unavailable: x")),
    codex("E104", codex_failed("You’ve hit your usage limit. Try again at Nov 23rd, 2026 1:35 AM.")),
    codex("E502", codex_failed("unexpected status 401 Unauthorized: rate limit of bad keys")),
    codex("E504", codex_failed("stream disconnected before completion: idle timeout waiting for SSE")),
    codex("E902", codex_failed("stream disconnected before completion: failed to lookup address information")),
    codex("E506", codex_failed("The model `x` does not exist or you do not have access to it.")),
    codex("E507", codex_failed("Codex ran out of room in the model's context window.")),
    codex("E508", codex_failed("Incomplete response returned, reason: content_filter")),
    codex("E509", codex_failed("Incomplete response returned, reason: max_output_tokens")),
    codex("E009", codex_failed("something new")),
    codex("E003", exit_code=101, stderr="thread 'main' panicked at x.rs:1:1"),
    Case("codex_cli", "E301", exit_code=2, stderr="error: unexpected argument '--frob' found\n\nUsage: codex exec"),
]  # fmt: skip


def gemini(code: str, *events: dict[str, Any], exit_code: int | None = 0, **others: Any) -> Case:
    first = {"type": "init", "session_id": "s", "model": "m"}
    return Case("gemini_cli", code, exit_code=exit_code, stdout=lines(first, *events), **others)


def gemini_said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text, "delta": True}


def gemini_result(message: str = "", status: str = "error") -> dict[str, Any]:
    return {"type": "result", "status": status} | ({"error": {"message": message}} if message else {})


GEMINI_DONE = gemini_result(status="success")
GEMINI = [
    *(gemini("", gemini_said(text), GEMINI_DONE) for text in ALARMING),
    gemini("", GEMINI_DONE, stderr="Attempt 1 failed with status 429. Retrying with backoff... x"),
    gemini("", gemini_said("x"), {"type": "error", "severity": "warning", "message": "slow tool"}, GEMINI_DONE),
    gemini("E503", gemini_said("all done"), verdict="truncated"),
    gemini("E101", gemini_result("[API Error: Resource has been exhausted (e.g. check quota).]"), exit_code=173),
    gemini("E104", gemini_result("[API Error: You have exhausted your daily quota on this model.]"), exit_code=173),
    gemini("E103", gemini_result('[API Error: {"error":{"code":503,"message":"The model is overloaded."}}]'), exit_code=247),
    gemini("E103", exit_code=244),
    gemini("E502", exit_code=145),
    gemini("E101", exit_code=173),
    gemini("E502", exit_code=41, stderr="Invalid auth method selected."),
    gemini("E301", exit_code=55, stderr="This directory is not trusted."),
    gemini("E508", {"type": "error", "severity": "error", "message": "It was blocked due to safety"}, gemini_result()),
    gemini("E002", gemini_said("half a"), exit_code=None, signal=15),
    gemini("E001", gemini_said("half a"), exit_code=None, signal=9, stopped_by="timeout"),
]  # fmt: skip


def opencode(code: str, *events: dict[str, Any], exit_code: int | None = 0, **others: Any) -> Case:
    first = {"type": "step_start", "sessionID": "s"}
    return Case("opencode_cli", code, exit_code=exit_code, stdout=lines(first, *events), **others)


def opencode_said(text: str) -> dict[str, Any]:
    return {"type": "text", "sessionID": "s", "part": {"type": "text", "text": text}}


def opencode_step(reason: str) -> dict[str, Any]:
    return {"type": "step_finish", "sessionID": "s", "part": {"reason": reason, "tokens": {}, "cost": 0}}


def opencode_error(name: str, **data: Any) -> dict[str, Any]:
    return {"type": "error", "sessionID": "s", "error": {"name": name, "data": data}}


OPENCODE = [
    *(opencode("", opencode_said(text), opencode_step("stop")) for text in ALARMING),
    opencode("E503", opencode_said("all done"), verdict="truncated"),
    opencode("E509", opencode_step("length")),
    opencode("E508", opencode_step("content-filter")),
    opencode("E101", opencode_error("APIError", statusCode=429, message="slow"), exit_code=1),
    opencode("E104", opencode_error("APIError", statusCode=429, responseBody='{"code": "insufficient_quota"}'), exit_code=1),
    opencode("E502", opencode_error("APIError", statusCode=401, message="429 keys"), exit_code=1),
    opencode("E502", opencode_error("ProviderAuthError", message="no key"), exit_code=1),
    opencode("E103", opencode_error("APIError", statusCode=500, message="401"), exit_code=1),
    opencode("E507", opencode_error("ContextOverflowError", message="too many tokens"), exit_code=1),
    opencode("E508", opencode_error("ContentFilterError", message="no"), exit_code=1),
    opencode("E506", opencode_error("APIError", statusCode=404, message="x"), exit_code=1),
    opencode("E004", exit_code=None, signal=2),
]  # fmt: skip

AIDER_DONE = "\nTokens: 592 sent, 20 received.\n"
PROFILES = [
    *(Case("aider", "", exit_code=0, stdout=text + AIDER_DONE) for text in ALARMING),
    Case("aider", "E101", exit_code=0, stdout="litellm.RateLimitError: RateLimitError: OpenAIException - slow\n"),
    Case("aider", "E104", exit_code=0, stdout="litellm.RateLimitError: OpenAI - You \nexceeded your current quota\n"),
    Case("aider", "E502", exit_code=0, stdout="litellm.AuthenticationError: AuthenticationError\n"),
    Case("aider", "E103", exit_code=0, stdout="litellm.InternalServerError: InternalServerError\n"),
    Case("aider", "E503", exit_code=0, stdout="word word word\n", verdict="truncated"),
    *(Case("bash", "", exit_code=0, stdout=text) for text in ALARMING[:3]),
    Case("bash", "E505", exit_code=127, stderr="/tmp/prompt: line 1: frob: command not found"),
    Case("bash", "E009", exit_code=1, stderr="no"),
    Case("goose", "E502", exit_code=1, stderr="error: No provider configured. Run 'goose configure' first."),
    Case("crush", "E502", exit_code=1, stderr="no providers configured - please run 'crush' first"),
    Case("cursor-agent", "E502", exit_code=1, stderr="Error: Not logged in. Run `cursor-agent login`."),
    Case("cursor-agent", "", exit_code=0, stdout=lines(answer("the usage limit is documented"))),
    Case("qwen-code", "", exit_code=0, stdout=lines(answer("I saw an [API Error: 429 in the log"))),
    Case("qwen-code", "E101", exit_code=0, stdout=lines(answer("[API Error: 429 Too many requests]"))),
    Case("qwen-code", "E103", exit_code=0, stdout=lines(answer("[API Error: 503 unavailable]"))),
]  # fmt: skip

CASES = [*COMMANDS, *CLAUDE, *CODEX, *GEMINI, *OPENCODE, *PROFILES]

#: Which verdicts a code may come with.
VERDICTS = {
    "": {"ok"},
    "E001": {"timeout"}, "E002": {"crashed"}, "E003": {"crashed"}, "E004": {"failed", "cancelled"}, "E005": {"crashed"},
    "E006": {"stalled"}, "E007": {"stalled"}, "E101": {"rate_limited"}, "E102": {"rate_limited"}, "E103": {"overloaded"},
    "E104": {"rate_limited"}, "E505": {"missing"}, "E508": {"refused"}, "E509": {"capped"},
}  # fmt: skip


def judged(case: Case) -> Any:
    parser = backends.load(case.backend).parser(run_of(case.options))
    for stream, text in ((STDOUT, case.stdout), (STDERR, case.stderr)):
        if stream in parser.wants:
            for line in text.encode().split(b"\n"):
                parser.feed(stream, line)
    return parser.verdict(
        Ending(case.exit_code, case.signal, case.stopped_by, case.stderr, case.stdout, NOW, case.kernel)
    )


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 150


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.backend}-{case.code or 'ok'}")
def test_code(case: Case) -> None:
    verdict = judged(case)
    assert verdict.code == case.code, verdict
    expected = {case.verdict} if case.verdict else VERDICTS.get(case.code)
    assert expected is None or verdict.name in expected
    assert not case.code or verdict.message
    assert (verdict.limit is not None) == (case.code in ("E101", "E102", "E103", "E104"))


#: sentence → seconds until the hold ends, None when it tells no time.
RESETS: list[tuple[Callable[[str], Case], str, float | None]] = [
    (lambda text: claude("", error(text, 429)), "You've hit your session limit · resets 1:18am (UTC)", 4680),
    (lambda text: claude("", error(text, 429)), "You've hit your weekly limit", None),
    (
        lambda text: codex("", codex_failed(text)),
        "You’ve hit your usage limit. try again at Nov 23rd, 2026 1:35 AM.",
        5700,
    ),
    (
        lambda text: gemini("", gemini_result(text), exit_code=173),
        "[API Error: Your quota will reset after 3h22m10s.]",
        12130,
    ),
    (lambda text: command("", text), "429 Too Many Requests\nRetry-After: 120", 120),
    (lambda text: command("", text), "usage limit reached, resets in 20 days", 8 * 86400),
    (lambda text: command("", text), "rate limit exceeded, retry after 1 s", 5),
]


@pytest.mark.parametrize(("case", "text", "seconds"), RESETS, ids=[text for _, text, _ in RESETS])
def test_hold(case: Callable[[str], Case], text: str, seconds: float | None) -> None:
    limit = judged(case(text)).limit
    assert isinstance(limit, Limited)
    assert limit.until == (None if seconds is None else NOW + seconds)
