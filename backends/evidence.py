"""What a failed program's own words on stderr say went wrong, for programs without structured errors.

Pure. Only ever asked about stderr and error records of attempts that failed: an answer that talks about "capacity
planning" or "403" has not failed. Of several errors the root cause wins, which is the order of `_CAUSES`:
authentication beats a rate limit, the network beats a backend's timeout. Within one cause the last line wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

from backends.base import Limited, Verdict
from backends.failures import LIMITS, failure
from backends.patterns import are_tame, is_tame
from backends.resets import limit_said

#: Only the last lines count: what a program complained about long before its end it has survived.
LAST_LINES = 30
#: And of a line what a sentence takes: a program may print megabytes without a newline.
LONGEST_LINE = 2000


def _cause(kind: str, patterns: str) -> tuple[str, re.Pattern[str]]:
    """One of `backends.failures`, and one alternative on each line of `patterns`."""
    alternatives = "|".join(line.strip() for line in patterns.splitlines() if line.strip())
    return kind, re.compile(alternatives, re.IGNORECASE)


#: An HTTP status said as one: "HTTP 429", "status code: 429", "error 429".
_STATUS = r"(?<!exit )\b(?:http(?:/\d(?:\.\d)?)?|status|error|code)\W{0,5}(?:code\W{0,5})?"

#: What a service counts by, and what it counts.
_PERIODS = r"daily|hourly|weekly|monthly|\d+[ -]?(?:hours?|days?|minutes?|h)|per[- ](?:day|hour|minute)"
_SPENT = (
    r"(?:api|billing|chat|free[- ]tier|messages?|plan|premium[- ]requests?|prompts?|requests?|rp[dm]|spend(?:ing)?|tpm)"
)

_WORDS = r"(?:(?!rate\b)[\w'’-]+\ ){0,3}"

_CAUSES = (
    _cause(
        "auth",
        rf"""
        \b401\b[^\n]{{0,40}}\bunauthori[sz]ed
        \b403\b[^\n]{{0,20}}\bforbidden
        {_STATUS}40[13]\b
        \binvalid (?:x-)?api[ -]?key
        \bapi[ _-]?key (?:is )?(?:not valid|invalid|missing|expired|incorrect)
        \bincorrect api key
        \b(?:no|missing) (?:api[ _-]key|credentials|auth(?:entication)? credentials)
        (?-i:\b[A-Z][A-Z\d_]*_API_KEY)\b[^\n]{{0,60}}\b(?:not set|unset|missing|required)
        \b(?:not found|not set|unset|missing|requires?)\W{{1,3}}(?-i:[A-Z][A-Z\d_]*_API_KEY)\b
        \bpermission denied \((?:publickey|password|keyboard-interactive)\b
        \[unauthenticated\]
        \bAPI_KEY_INVALID\b
        \bauthentication[ _](?:error|failed|required)
        \bAuthenticationError\b
        \bfailed to authenticate
        \bnot (?:logged in|authenticated)\b
        \bplease (?:log|sign) ?in\b
        \b(?:must|need|requires you to) be logged in\b
        \bplease run:? +[\w-]+ (?:auth )?login\b
        ^\$ [\w-]+ (?:auth )?login\b
        \b(?:unable to locate|could not load|no valid) credentials\b
        \bcode (?:E401|ENEEDAUTH)\b
        \bExpiredToken(?:Exception)?\b
        \binvalid (?:bearer|access|auth) token
        \btoken (?:has )?(?:been )?(?:expired|revoked)
        """,
    ),
    _cause(
        "model",
        r"""
        \bmodel_not_found\b
        \bmodel\W{1,3}[\w./]*[\d:-][\w./:-]*\W[^\n]{0,60}\b(?:does not exist|not found|is not supported)
        \b(?:unknown|invalid) model\b
        \bmodel not found\b
        \bcannot use this model\b
        """,
    ),
    _cause(
        "long",
        r"""
        \bprompt is too long\b
        \bcontext[_ ]length[_ ]exceeded
        \bmaximum context length\b
        \bcontext window\b[^\n]{0,60}\b(?:exceed|ran out|room)
        \bexceeds the (?:maximum|model'?s)[^\n]{0,40}\btokens
        \bexceeds?\b[^\n]{0,30}\bcontext (?:window|limit|length)\b
        \binput is too long\b
        """,
    ),
    _cause(
        "dns",
        r"""
        \b(?:could not|unable to) resolve host
        \bUnknownHostException\b
        \bname or service not known
        \bENOTFOUND\b
        \bEAI_AGAIN\b
        \btemporary failure in name resolution
        \bno such host\b
        \bdns (?:error|lookup failed)
        \bgetaddrinfo failed
        """,
    ),
    _cause(
        "tls",
        r"""
        \bcertificate[ _]verif(?:y|ication)[ _]failed
        \bcertificate has expired
        \bunable to (?:find valid certification path|get (?:local )?issuer certificate)
        \bSSLHandshakeException\b
        \bSSL routines:
        \bself[- ]signed certificate
        \bSSLError\b
        \bSSL_ERROR_\w+
        \bssl certificate problem
        \btls handshake
        \bCERT_HAS_EXPIRED\b
        \bUNABLE_TO_(?:VERIFY|GET)\w+
        \bERR_TLS_\w+
        \bx509:
        """,
    ),
    _cause(
        "network_timeout",
        r"""
        \bETIMEDOUT\b
        \bconnect(?:ion)? timed out
        \boperation timed out
        \bConnectTimeout\b
        \bSocketTimeoutException\b
        \bconnect(?:ion)? timeout\b
        \b(?:dial|read|write) (?:tcp|udp)\b[^\n]{0,120}\btimeout\b
        """,
    ),
    _cause(
        "network",
        r"""
        \bENETUNREACH\b
        \bEHOSTUNREACH\b
        \bnetwork is unreachable
        \bno route to host
        \bfetch failed\b
        \bnetwork error\b
        """,
    ),
    _cause(
        "unreachable",
        r"""
        \bECONNREFUSED\b
        \bECONNRESET\b
        \bconnection refused
        \bconnection reset by peer
        \bConnectionRefused(?:Error)?\b
        \bAPIConnectionError\b
        \b(?:unable|failed) to connect to\b
        \bcannot connect to\b
        \bConnect(?:ion)?Error\b(?!: \[)
        \bsocket hang up
        """,
    ),
    _cause(
        "quota",
        rf"""
        \binsufficient_quota\b
        \busage_limit_reached\b
        \bQUOTA_EXHAUSTED\b
        \b(?:usage|session|weekly) limit\b[^\n]{{0,20}}\b(?:reached|exceeded|hit)
        \b(?:hit|reached|exceeded)\b[^\n]{{0,20}}\b(?:usage|session|weekly|plan|opus|sonnet)\b[^\n]{{0,12}}\blimit
        \bexceeded your (?:current |daily |monthly )?quota
        \bexhausted your[^\n]{{0,30}}\bquota
        (?<!disk )\bquota[ _](?:exceeded|exhausted|reached)
        \bcredit balance is too low
        \byou(?:['’]ve|\ have)?\ (?:hit|reached|exceeded|used\ up)\ (?:your|the)\ {_WORDS}(?:limits?|allowance)\b
        \byour\ (?:[\w-]+\ ){{0,3}}limits?\ (?:will\ )?(?:resets?|renews?|refreshes)\b
        \byour\ (?:[\w-]+\ ){{0,3}}limits?\ (?:has|have)\ been\ (?:reached|exceeded|used\ up)
        \byou(?:['’]re|\ are)\ out\ of\ (?:[\w-]+\ ){{0,3}}(?:usage|credits?|messages|requests|tokens|prompts)\b
        \b(?:{_PERIODS}|{_SPENT})\ limits?\ (?:has\ been\ |was\ |is\ )?(?:reached|exceeded|hit|used\ up|exhausted)\b
        \b(?:reached|exceeded|hit)\ (?:your|the|a)\ (?:{_PERIODS}|{_SPENT})\ limits?\b
        \blimits?\ per\ (?:minute|hour|day|week|month)\ (?:reached|exceeded)\b
        \b(?:run|ran)\ out\ of\ (?:[\w-]+\ ){{0,2}}(?:credits?|quota|usage)\b
        \bcredits?\ (?:are\ |is\ |have\ been\ )?(?:exhausted|used\ up|depleted)\b
        \bno\ (?:more\ )?(?:free\ )?(?:messages|requests|credits|prompts)\ (?:left|remaining)\b
        (?:^|\W\s)limits?\ (?:reached|exceeded)\b[^\n]{{0,20}}\b(?:resets?|try\ again|retry|wait|upgrade)\b
        \bout\ of\ (?:extra\ )?(?:usage|credits)\b[^\n]{{0,20}}\b(?:resets?|until)\b
        """,
    ),
    _cause(
        "limit",
        rf"""
        \bRateLimitError\b
        \brate_limit_(?:error|exceeded)\b
        {_STATUS}429\b
        \bAPI rate limit exceeded\b
        \b429\b(?: Client Error)?\W{{0,4}}too many requests
        \[resource_exhausted\]
        (?-i:\bRESOURCE_EXHAUSTED\b)
        """,
    ),
    _cause(
        "overloaded",
        rf"""
        \boverloaded(?:_error)?\b
        \b(?:at|over|insufficient) capacity\b
        \bno (?:available capacity|capacity (?:available|left))\b
        {_STATUS}(?:529|500|502|503)\b
        \b50[03]\W{{1,4}}(?:service unavailable|internal server error)
        \b502\W{{1,4}}bad gateway
        \bservice unavailable\b
        \[unavailable\]
        \bInternalServerError\b
        """,
    ),
    _cause(
        "timeout",
        rf"""
        \b(?:request|read) timed out
        \bidle timeout\b
        \bReadTimeout\b
        \bClient\.Timeout exceeded
        \bgateway time-?out
        \bdeadline exceeded
        \bAPITimeoutError\b
        {_STATUS}(?:408|504)\b
        """,
    ),
    _cause(
        "mcp",
        r"""
        \binvalid mcp config
        \bmcp (?:server|configuration)\b[^\n]{0,60}\b(?:fail|invalid|error)
        """,
    ),
)

_USED_UP = r"(?:exceed\w*|exhaust\w*|reach\w*|hit|used up|run out|out of|over|resets?|insufficient)"
#: `rate_limit.detection_patterns` by default, and what each of them must mean to be positive evidence: `429` is a
#: status and not line 429 of a file, a quota is one that is used up and not a column, `rate_limit` is no name in a program.
_DEFAULTS = {
    "rate.?limit": r"(?<![\w./-])rate(?:[ -]limit(?:ed|s|ing)?\b|limit(?:ed|s|ing)?\b(?!['\"`]))(?![-_./]\w)"
    r'|"(?:type|code|error|reason|status)"\s*:\s*"rate_?limit',
    "usage.?limit": rf"\busage[ -]?limits?\b[^\n]{{0,40}}\b{_USED_UP}\b|\b{_USED_UP}\b[^\n]{{0,40}}\busage[ -]?limits?\b",
    "quota": rf"(?<!disk )\bquota\b[^\n]{{0,40}}\b{_USED_UP}\b|\b{_USED_UP}\b[^\n]{{0,40}}(?<!disk )\bquota\b",
    "too many requests": r"\btoo many requests\b",
    # … and no number of things, either: "429 lines", "429 files".
    "429": r"(?<![\w.:#/'\"-])429(?![\w'\"]|[.:/-]\w|\s+(?!errors|responses|status)[a-z]{3,}s\b)",
    "capacity": r"\b(?:at|over|out of|no|insufficient) capacity\b|\bcapacity (?:is )?(?:reached|exceeded|limit)",
    "try again later": r"\btry again later\b",
}
#: Lines that deny or only mention it: what a test is called and what it wanted, what a compiler or an interpreter says of a
#: name, pieces of a program.
_ELSEWHERE = re.compile(
    r"""
      \bFile\ ".*",\ line | \bline\W+429\b | \b(?:passed|failed)\ in\b | \bassert\w*\b | disk\ quota
    | \b(?:no|without|within|below|under|not)\ (?:a\ |the\ |any\ |your\ )?(?:rate|usage).?limit
    | \b(?:no|without|within|below|under)\ (?:the\ |any\ |your\ )?(?:quota|capacity)(?!\ (?:available|left)\b)
    | ^\s*(?:[✓✔✕✗✘×●○]|(?:not\ )?ok\ \d|---\ (?:FAIL|PASS)|(?:FAIL|PASS)(?:ED)?\s+\S*[./]\S|E\s{3,})
    | \bwant(?:ed)?\b.{0,200}\bgot\b
    | \b(?:expected|expect)\b.{0,200}\b(?:got|received|actual|to\ (?:be|equal))\b
    | ^\S+:\d+(?::\d+)?:\s(?:fatal\ )?(?:error|warning|note): | ^(?:warning|note):\ .*`
    | ^(?:expected|received|actual|got|want(?:ed)?)\b\W*\w*$ | \brate.?limit\ ?(?:is|:|=)\ ?\d(?!.{0,200}\bexceed)
    | \bcannot\ import\ name\b | \bhas\ no\b.{0,80}\b(?:attribute|member)\b | \bno\ module\ named\b | \bis\ not\ defined\b
    | \bdoes\ not\ exist\ (?:in|on)\ type\b | ^usage:\ | \bno\ such\ file\ or\ directory
    | ^\s*(?:[+-]\s*)?(?:assert|catch|class|def|except|from|if|import|raise|return|throw)\b
    | \bcall\ (?:of|to)\ overloaded\b | \boverloaded\ (?:\w+\ )?(?:constructor|function|member|method|operator)
    | \boperator\S*\ is\ overloaded
    | \bshould\ (?:show|say|see|display|print)\b | \(expected\)
    | ^\W*(?:chore|docs?|feat|fix|fixme|refactor|tests?|todo)\b(?:\([^)]*\))?:
    | \b(?:add|describes?|document|explains?|handles?|handling|implement|mock|simulates?|stub|write)\b.{0,60}\blimits?\b
    | \b(?:if|once|unless|when|whether)\ (?:an?\ |the\ )?(?:account|agent|api|caller|client|request|server|service|user)\b
    | \blimits?\ (?:hit|reached|exceeded)\ (?:banner|case|check|dialog|handl\w+|message|modal|page|screen|test|toast)\b
    | \brate.?limit(?:s|er|ing)?\ (?:is\ |are\ )?(?:disabled|enabled|off|on)\b
    | \b(?:case|issue|item|page|row|step|test|ticket)\W{1,2}429\b | \b429\ of\ \d
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: Words that are a place in a file or the name of a test, not a message.
_PLACE = re.compile(r"::|\.(?:py|js|tsx?|go|rs|rb|java|c|h|cpp|md)\b|^(?!HTTP/\d).*\w[/\\]\w", re.IGNORECASE)
_NO_WORD = " \t\"'`{}()[]<>,="


def _found(pattern: re.Pattern[str], line: str) -> bool:
    """Whether the line says it in a sentence, not in a path or a name."""
    said = any(not _PLACE.search(_word_at(line, found.start())) for found in pattern.finditer(line))
    return said and not _ELSEWHERE.search(line)


def _word_at(line: str, at: int) -> str:
    begin, end = at, at
    while begin and line[begin - 1] not in _NO_WORD:
        begin -= 1
    while end < len(line) and line[end] not in _NO_WORD:
        end += 1
    return line[begin:end]


@dataclass(frozen=True, slots=True)
class LimitWords:
    """The score's `rate_limit.detection_patterns`: its own ones as they are, the default ones as `_DEFAULTS` says."""

    own: tuple[re.Pattern[str], ...]
    default: tuple[re.Pattern[str], ...]

    @property
    def wild(self) -> bool:
        return not are_tame(pattern.pattern for pattern in self.own)

    def tamed(self) -> LimitWords:
        return LimitWords(tuple(pattern for pattern in self.own if is_tame(pattern.pattern)), self.default)

    def found_in(self, line: str) -> bool:
        if any(pattern.search(line) for pattern in self.own):
            return True
        return any(_found(pattern, line) for pattern in self.default)


def limit_words(options: Mapping[str, Any]) -> LimitWords:
    """The coordinator passes the patterns as `rate_limit_patterns`. Raises ValueError with a sentence."""
    given: Sequence[str] | None = options.get("rate_limit_patterns")
    given = tuple(_DEFAULTS) if given is None else given
    try:
        own = tuple(re.compile(pattern, re.IGNORECASE) for pattern in given if pattern not in _DEFAULTS)
    except re.error as error:
        raise ValueError(f"cannot use rate_limit.detection_patterns: {error}") from error
    default = (_DEFAULTS[pattern] for pattern in given if pattern in _DEFAULTS)
    return LimitWords(own, tuple(re.compile(pattern, re.IGNORECASE) for pattern in default))


#: Some services refuse with 403 what is too much, and say so.
_LIMIT_NAMED = re.compile(r"\brate limit (?:exceeded|reached)\b", re.IGNORECASE)


def _cause_in(said: str) -> tuple[str, str] | None:
    """The root cause that the last lines show, and the line that shows it."""
    lines = _last_lines(said)
    for kind, pattern in _CAUSES:
        for line in reversed(lines):
            if _found(pattern, line) and not (kind == "auth" and _LIMIT_NAMED.search(line)):
                return kind, line
    return None


def _last_lines(said: str) -> list[str]:
    return [line.strip()[:LONGEST_LINE] for line in said.split("\n") if line.strip()][-LAST_LINES:]


def kind_in(said: str) -> str:
    """The kind of failure that an error record's words show, or `other`."""
    found = _cause_in(said)
    return found[0] if found else "other"


def line_of(said: str) -> str:
    """The line that shows that kind, or empty."""
    found = _cause_in(said)
    return found[1] if found else ""


def judge(said: str, now: float, words: LimitWords | None = None, zone: tzinfo | None = None) -> Verdict | None:
    """What the last lines of a failed program's stderr, or an error record, prove; None when they prove nothing."""
    if found := _cause_in(said):
        kind, line = found
        limit = _guess(limit_said(line, LIMITS[kind], now, zone, said)) if kind in LIMITS else None
        return failure(kind, line, limit)
    for line in reversed(_last_lines(said)):
        if words and words.found_in(line):
            limit = _guess(limit_said(line, "requests", now, zone, said))
            message = "the agent's error output mentions a limit"
            return Verdict("rate_limited", "E102", message, "see mozart limits", line[:2000], limit)
    return None


#: What may stand before the words in a program's own sentence: "Error: ", "The ".
_OPENING = re.compile(r"\W*(?:(?:api |fatal )?error\b\W*)?", re.IGNORECASE)
_SHORT_OPENING = 10


def opens_with_limit(said: str, now: float, words: LimitWords, zone: tzinfo | None = None) -> Verdict | None:
    """For what may be an answer as well: a limit, when the text begins by saying so."""
    line = said.strip().split("\n")[0][:LONGEST_LINE]
    rest = line[_end_of_opening(line) :]
    patterns = [pattern for kind, pattern in _CAUSES if kind in LIMITS] + list(words.default)
    begins = [match.start() for pattern in patterns if (match := pattern.search(rest))]
    if not begins or min(begins) > _SHORT_OPENING or ":" in rest[: min(begins)]:
        return None
    found = judge(line, now, words, zone)
    return found if found and found.limit else None


def _end_of_opening(line: str) -> int:
    found = _OPENING.match(line)
    return found.end() if found else 0


def _guess(limit: Limited) -> Limited:
    return replace(limit, guess=True)
