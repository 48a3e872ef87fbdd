"""What a failed program's own words on stderr say went wrong, for programs without structured errors.

Pure. Only ever asked about stderr and error records of attempts that failed: an answer that talks about "capacity planning"
or "403" has not failed. Of several errors the root cause wins, which is the order of `_CAUSES`: a missing program beats a
timeout, authentication beats a rate limit, the network beats a backend's timeout. Within one cause the last line wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from backends.base import Limited, Verdict
from backends.endings import limited
from backends.resets import find_reset

#: Only the last lines count: what a program complained about long before its end it has survived.
LAST_LINES = 30


@dataclass(frozen=True, slots=True)
class Cause:
    code: str
    verdict: str
    message: str
    pattern: re.Pattern[str]
    hint: str = ""
    kind: str = ""
    """Of a limit."""


def _cause(code: str, verdict: str, message: str, *patterns: str, hint: str = "", kind: str = "") -> Cause:
    return Cause(code, verdict, message, re.compile("|".join(patterns), re.IGNORECASE), hint, kind)


_CAUSES = (
    _cause(
        "E502", "auth", "the service refused the credentials",
        r"\b401\b[^\n]{0,40}\bunauthori[sz]ed", r"\b403\b[^\n]{0,20}\bforbidden", r"\b(?:http|status|error|code)\W{0,3}(?:code\W{0,3})?40[13]\b",
        r"\binvalid (?:x-)?api[ -]?key", r"\bapi[ _-]?key (?:is )?(?:not valid|invalid|missing|expired|incorrect)", r"\bincorrect api key",
        r"\b(?:no|missing) (?:api[ _-]key|credentials|auth(?:entication)? credentials)", r"\bauthentication[ _](?:error|failed|required)",
        r"\bfailed to authenticate", r"\bAuthenticationError\b", r"\bnot logged in\b", r"\bnot authenticated\b", r"\binvalid (?:bearer|access|auth) token",
        r"\btoken (?:has )?(?:expired|been revoked)", r"\bAPI_KEY_INVALID\b", r"\bplease (?:log|sign) ?in\b", r"\b(?:OPENAI|ANTHROPIC|GEMINI|GOOGLE)_API_KEY\b[^\n]{0,60}\b(?:not set|unset|missing|required)",
        hint="log in, or provide the key in the daemon's environment",
    ),
    _cause(
        "E506", "failed", "the model does not exist or is not allowed", r"\bmodel_not_found\b",
        r"\bmodel\b[^\n]{0,80}\b(?:does not exist|not found|is not supported|unknown)", r"\bunknown model\b", r"\binvalid model\b",
        hint="name another model with backend.cli_model",
    ),
    _cause(
        "E507", "failed", "the prompt is too long for the model", r"\bprompt is too long\b", r"\bcontext[_ ]length[_ ]exceeded",
        r"\bmaximum context length\b", r"\bcontext window\b[^\n]{0,60}\b(?:exceed|ran out|room)", r"\bexceeds the (?:maximum|model'?s)[^\n]{0,40}\btokens",
        hint="split the sheet",
    ),
    _cause(
        "E902", "failed", "a host name could not be resolved", r"\bcould not resolve host", r"\bname or service not known", r"\bENOTFOUND\b",
        r"\bEAI_AGAIN\b", r"\btemporary failure in name resolution", r"\bno such host\b", r"\bdns (?:error|lookup failed)", r"\bgetaddrinfo failed",
    ),
    _cause(
        "E903", "failed", "a TLS connection could not be made", r"\bcertificate verif(?:y|ication) failed", r"\bcertificate has expired",
        r"\bself[- ]signed certificate", r"\bSSLError\b", r"\bSSL_ERROR_\w+", r"\btls handshake", r"\bCERT_HAS_EXPIRED\b", r"\bx509:",
        r"\bUNABLE_TO_(?:VERIFY|GET)\w+", r"\bssl certificate problem", r"\bERR_TLS_\w+",
    ),
    _cause("E904", "failed", "the network did not answer in time", r"\bETIMEDOUT\b", r"\bconnection timed out", r"\bconnect(?:ion)? timeout\b"),
    _cause(
        "E901", "failed", "the network failed", r"\bENETUNREACH\b", r"\bEHOSTUNREACH\b", r"\bnetwork is unreachable", r"\bno route to host",
        r"\bfetch failed\b", r"\bnetwork error\b",
    ),
    _cause(
        "E501", "failed", "the service could not be reached", r"\bECONNREFUSED\b", r"\bconnection refused", r"\bECONNRESET\b",
        r"\bconnection reset by peer", r"\bsocket hang up", r"\b(?:unable|failed) to connect to\b", r"\bConnectionRefused(?:Error)?\b", r"\bAPIConnectionError\b",
    ),
    _cause(
        "E104", "rate_limited", "a quota or usage limit is reached", r"\binsufficient_quota\b", r"\b(?:usage|session|weekly) limit\b[^\n]{0,20}\b(?:reached|exceeded|hit)",
        r"\b(?:hit|reached|exceeded)\b[^\n]{0,20}\b(?:usage|session|weekly|plan|opus|sonnet)\b[^\n]{0,12}\blimit", r"\bexceeded your (?:current |daily |monthly )?quota",
        r"(?<!disk )\bquota[ _](?:exceeded|exhausted|reached)", r"\bQUOTA_EXHAUSTED\b", r"\bexhausted your[^\n]{0,30}\bquota", r"\bcredit balance is too low", r"\busage_limit_reached\b",
        kind="quota",
    ),
    _cause(
        "E101", "rate_limited", "too many requests", r"\bRateLimitError\b", r"\brate_limit_(?:error|exceeded)\b",
        r"\b(?:http|status|error|code)\W{0,3}(?:code\W{0,3})?429\b", r"\b429\W{0,4}too many requests", kind="requests",
    ),
    _cause(
        "E103", "overloaded", "the service is overloaded", r"\boverloaded(?:_error)?\b", r"\bat capacity\b", r"\bover capacity\b",
        r"\b(?:insufficient|no) capacity\b", r"\b(?:http|status|error|code)\W{0,3}(?:code\W{0,3})?(?:529|500|502|503)\b", r"\b50[03]\W{1,4}(?:service unavailable|internal server error)",
        r"\b502\W{1,4}bad gateway", r"\bservice unavailable\b", r"\bInternalServerError\b", kind="overloaded",
    ),
    _cause(
        "E504", "failed", "the service did not answer in time", r"\brequest timed out", r"\bgateway time-?out", r"\bdeadline exceeded",
        r"\bAPITimeoutError\b", r"\b(?:http|status|error|code)\W{0,3}(?:code\W{0,3})?(?:408|504)\b",
    ),
    _cause("E305", "failed", "an MCP server or its configuration failed", r"\binvalid mcp config", r"\bmcp (?:server|configuration)\b[^\n]{0,60}\b(?:fail|invalid|error)"),
)  # fmt: skip

#: `rate_limit.detection_patterns` by default, and what each of them must mean to be positive evidence: `429` is a status
#: and not line 429 of a file, a quota is not one of the disk.
_DEFAULTS = {
    "rate.?limit": r"\brate[ _-]?limit(?:ed|s|ing)?\b",
    "usage.?limit": r"\busage[ _-]?limits?\b",
    "quota": r"(?<!disk )\bquota\b",
    "too many requests": r"\btoo many requests\b",
    "429": r"(?<![\w.:#/-])429(?![\w.:/-]\w)",
    "capacity": r"\b(?:at|over|out of|no|insufficient) capacity\b|\bcapacity (?:is )?(?:reached|exceeded|constraints?|limit)",
    "try again later": r"\btry again later\b",
}
_ELSEWHERE = re.compile(
    r"""(?ix) \bFile\ ".*",\ line | \bline\W+\d+ | \.(?:py|js|ts|tsx|go|rs|rb|java|c|h|cpp|md|ya?ml|json)\b | :: | \b(?:passed|failed)\ in\b
      | \b(?:test|assert\w*)\b | \b(?:no|without|within|below|under)\ (?:the\ |any\ |your\ )?(?:rate.?limit|usage.?limit|quota|capacity)
      | not\ (?:a\ |your\ )?(?:rate|usage)[ ]limit | disk\ quota """
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LimitWords:
    """The score's `rate_limit.detection_patterns`: its own ones as they are, the default ones as `_DEFAULTS` says."""

    own: tuple[re.Pattern[str], ...]
    default: tuple[re.Pattern[str], ...]

    def found_in(self, line: str) -> bool:
        if any(pattern.search(line) for pattern in self.own):
            return True
        return not _ELSEWHERE.search(line) and any(pattern.search(line) for pattern in self.default)


def limit_words(options: Mapping[str, Any]) -> LimitWords:
    """The coordinator passes the patterns as `rate_limit_patterns`. Raises ValueError with a sentence."""
    given: Sequence[str] = options.get("rate_limit_patterns") or tuple(_DEFAULTS)
    try:
        own = tuple(re.compile(pattern, re.IGNORECASE) for pattern in given if pattern not in _DEFAULTS)
    except re.error as error:
        raise ValueError(f"cannot use rate_limit.detection_patterns: {error}") from error
    return LimitWords(
        own, tuple(re.compile(_DEFAULTS[pattern], re.IGNORECASE) for pattern in given if pattern in _DEFAULTS)
    )


def judge(said: str, now: float, words: LimitWords | None = None, zone: tzinfo | None = None) -> Verdict | None:
    """What the last lines of a failed program's stderr, or an error record, prove; None when they prove nothing."""
    lines = [line.strip() for line in said.split("\n") if line.strip()][-LAST_LINES:]
    for cause in _CAUSES:
        for line in reversed(lines):
            if cause.pattern.search(line) and not _ELSEWHERE.search(line):
                return _verdict(cause, line, said, now, zone)
    for line in reversed(lines):
        if words and words.found_in(line):
            limit = Limited(line[:2000], _until(line, said, now, zone))
            return limited(limit, "its error output speaks of a limit", "E102")
    return None


def _verdict(cause: Cause, line: str, said: str, now: float, zone: tzinfo | None) -> Verdict:
    if not cause.kind:
        return Verdict(cause.verdict, cause.code, cause.message, cause.hint, line[:2000])
    limit = Limited(line[:2000], _until(line, said, now, zone), kind=cause.kind)
    return limited(limit, cause.message, cause.code)


def _until(line: str, said: str, now: float, zone: tzinfo | None) -> float | None:
    reset = find_reset(line, now, zone) or find_reset(said, now, zone)
    return reset.at if reset else None
