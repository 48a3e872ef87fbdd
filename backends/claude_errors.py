"""What Claude Code's errors mean: the facts of an error record, wherever it came from, and the kind of failure they show.

Its own words for it count first, then the HTTP status, then how the message begins; never the model's words. Called by
`claude_cli` for the verdict and by `claude_shown` for what to quote.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from backends import endings, evidence
from backends.base import Ending, Verdict
from backends.failures import Sayings, by_status, failure
from backends.records import last_line, number, text, texts


class Facts(NamedTuple):
    """What an error record says, wherever it came from."""

    said: str
    error: str = ""
    status: int | None = None
    subtype: str = ""
    terminal: str = ""
    stop: str = ""


def facts_of(result: dict[str, Any], error: str) -> Facts:
    said = text(result.get("result")) or "; ".join(texts(result.get("errors")))
    status = number(result.get("api_error_status"))
    return Facts(said, error, int(status) if status else None, *(text(result.get(name)) for name in _WORDS_OF_RESULT))


def complaint(facts: Facts) -> str:
    """What to quote: an interrupted run's message is a diagnostic that means nothing to people."""
    return (facts.terminal if facts.terminal.startswith("aborted") else facts.said) or facts.terminal or facts.subtype


_WORDS_OF_RESULT = ("subtype", "terminal_reason", "stop_reason")


_SUBTYPES = {
    "error_max_turns": "capped",
    "error_max_budget_usd": "capped",
    "error_max_structured_output_retries": "schema",
}
_TERMINALS = {
    "prompt_too_long": "long",
    "image_error": "long",
    "aborted_streaming": "interrupted",
    "aborted_tools": "interrupted",
}
_ERRORS = {
    "authentication_failed": "auth", "oauth_org_not_allowed": "auth", "billing_error": "billing",
    "model_not_found": "model", "max_output_tokens": "output", "overloaded": "overloaded",
}  # fmt: skip
#: How its own messages begin. Looked at in error records only, and only from their first letter on.
_SAYINGS = Sayings(
    (r"You['’]ve (?:hit|reached) your .{0,40}limit", "quota"),
    (r"You['’]re out of .{0,20}usage", "quota"),
    (r"Claude (?:AI )?usage limit reached|.{0,40}\blimit reached\b.{0,20}\bresets\b", "quota"),
    (r"Credit balance is too low", "billing"),
    (r"Invalid API key|Not logged in|Failed to authenticate|.{0,80}\brun /login", "auth"),
    (r"Your \w+ belongs to a disabled organization", "auth"),
    (r"There's an issue with the selected model", "model"),
    (r"Prompt is too long|API Error: 4\d\d .{0,120}prompt is too long", "long"),
    (r"Error: (?:Reached max turns|Exceeded USD budget)|Reached maximum (?:number of turns|budget)", "capped"),
    (r"No conversation found with session ID", "no_session"),
    (r"API Error: Claude Code is unable to respond|API Error: .{0,60}violate our Usage Policy", "refused"),
    (r"API Error: Claude's response exceeded the \d+ output token", "output"),
    (r"API Error: (?:Request rejected \(429\)|Server is temporarily limiting requests)", "limit"),
    (r"API Error: .{0,80}(?:\bcertificate|\bSSL\b|\bTLS\b|CERT_)", "tls"),
    (r"API Error: .{0,80}\b(?:FailedToOpenSocket|ENOTFOUND|EAI_AGAIN)", "dns"),
    (r"API Error: (?:Unable to connect|Connection error)", "unreachable"),
    (r"(?:API Error: )?Request timed out", "timeout"),
    (r"API Error: API returned an empty or malformed response", "bad_response"),
    (r"API Error: 529|API Error: .{0,40}overloaded", "overloaded"),
)


def kind_of(facts: Facts) -> str:
    """Which of `_FAILURES` it is: its own words for it first, then the status, then how the message begins."""
    kind = _SUBTYPES.get(facts.subtype) or _TERMINALS.get(facts.terminal) or _ERRORS.get(facts.error)
    if kind:
        return kind
    if facts.stop == "refusal":
        return "refused"
    begins = _SAYINGS.begins(facts.said)
    if facts.error == "rate_limit" and begins != "quota":
        return "limit"
    status = facts.status or _status_in(facts.said)
    kind = begins or by_status(status)
    if kind == "other" and facts.said.startswith("API Error"):
        return evidence.kind_in(facts.said)
    return kind


def _status_in(said: str) -> int | None:
    found = re.match(r"API Error: (\d{3})\b", said)
    return int(found[1]) if found else None


_COMPLAINTS = Sayings(
    (r"No conversation found with session ID|Session ID .* is already in use", "no_session"),
    (r"\bMCP config", "mcp"),
    (r"requires --|only works with --|Error parsing streaming input", "mode"),
    (r"^error: |^Error: .*(?:option|argument|must be|Invalid)|\bcannot be used with\b", "configuration"),
    (r"^Error: Input must be provided", "configuration"),
)


def complains_of(stderr: str) -> bool:
    """Whether it says on stderr what went wrong."""
    return bool(_COMPLAINTS.found_in(last_line(stderr))) or evidence.kind_in(stderr) != "other"


def usage_error(ending: Ending) -> Verdict:
    """It would not even start: one line on stderr."""
    line = last_line(ending.stderr_tail)
    kind = _COMPLAINTS.found_in(line)
    return failure(kind, line) if kind else endings.conventional(ending, "claude") or endings.failed(ending)
