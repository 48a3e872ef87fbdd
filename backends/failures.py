"""The ways an agent's attempt can fail, each with its verdict, its code, a sentence and what to do about it.

Backends recognise a kind (by an event, a status, how a message begins) and get the verdict here, so that the same failure
of two agents has the same code. Also the statuses of HTTP, which mean the same to all of them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from backends.base import Limited, Verdict


class Failure(NamedTuple):
    verdict: str
    code: str
    message: str
    hint: str


FAILURES = {
    "auth": Failure(
        "auth", "E502", "the service refused the credentials", "log in, or set the key where the daemon runs"
    ),
    "bad_response": Failure("failed", "E503", "the service's response is not valid", "check for a proxy in between"),
    "billing": Failure("rate_limited", "E104", "the credit is used up", "add credit or change the plan"),
    "capped": Failure(
        "capped", "E509", "the agent reached its limit of turns or cost", "raise the limit, or split the sheet"
    ),
    "configuration": Failure("failed", "E301", "the agent refused to start", "check backend.cli_extra_args"),
    "dns": Failure("failed", "E902", "a host name could not be resolved", "check the network and its DNS"),
    "interrupted": Failure("failed", "E004", "interrupted", "`mozart retry JOB` runs it again"),
    "limit": Failure("rate_limited", "E101", "too many requests", "see mozart limits"),
    "long": Failure("failed", "E507", "the prompt is too long for the model", "split the sheet"),
    "loop": Failure("failed", "E503", "the model is stuck in a loop", "reword the task, or split the sheet"),
    "mcp": Failure("failed", "E305", "an MCP server or its configuration failed", "check it, or set disable_mcp"),
    "mode": Failure("failed", "E306", "the agent rejects this combination of modes", "check backend.cli_extra_args"),
    "model": Failure("failed", "E506", "the model does not exist or is not allowed", "set backend.cli_model"),
    "network": Failure("failed", "E901", "the network failed", "check the connection and its proxy"),
    "network_timeout": Failure(
        "failed", "E904", "the network did not answer in time", "check the connection and its proxy"
    ),
    "no_session": Failure("no_session", "E009", "the session to resume does not exist", "the agent starts a new one"),
    "other": Failure("failed", "E009", "the agent reported an error", "see its log"),
    "output": Failure("capped", "E509", "the answer is longer than its limit", "raise the limit, or ask for less"),
    "overloaded": Failure("overloaded", "E103", "the service is overloaded", "Mozart tries again later"),
    "path": Failure("failed", "E303", "a path that the agent needs does not exist", "see its log for the path"),
    "permission": Failure("failed", "E009", "the agent was denied a permission", "set skip_permissions"),
    "quota": Failure("rate_limited", "E104", "a quota or usage limit is reached", "see mozart limits"),
    "refused": Failure("refused", "E508", "the model refused the request", "reword the prompt"),
    "schema": Failure("failed", "E503", "the answer never matched the requested schema", "use a simpler schema"),
    "timeout": Failure(
        "failed", "E504", "the service did not answer in time", "run the agent by hand to see whether it answers"
    ),
    "tls": Failure("failed", "E903", "a TLS connection could not be made", "check certificates, clock and proxy"),
    "unreachable": Failure("failed", "E501", "the service could not be reached", "check its address and the network"),
}

#: Kinds that hold the scope, and what the hold is called when the vendor gives no word of its own.
LIMITS = {"billing": "billing", "limit": "requests", "overloaded": "overloaded", "quota": "quota"}

_STATUSES = {
    401: "auth",
    402: "billing",
    403: "auth",
    404: "model",
    408: "timeout",
    413: "long",
    429: "limit",
    504: "timeout",
}


class Sayings:
    """How a program's own messages read, and the kind of failure each shows. Asked about error records alone."""

    def __init__(self, *sayings: tuple[str, str]) -> None:
        self._sayings = tuple((re.compile(pattern, re.IGNORECASE), kind) for pattern, kind in sayings)

    def found_in(self, said: str) -> str:
        """The kind of the first that is somewhere in it, or empty."""
        return next((kind for pattern, kind in self._sayings if pattern.search(said)), "")

    def begins(self, said: str) -> str:
        """The kind of the first that it begins with, or empty."""
        return next((kind for pattern, kind in self._sayings if pattern.match(said)), "")


def by_status(status: int | None) -> str:
    """The kind of an HTTP status, or `other`. The 5xx that are no timeouts mean a service that cannot cope just now."""
    if status is None:
        return "other"
    return _STATUSES.get(status) or ("overloaded" if 500 <= status < 600 else "other")


def failure(kind: str, evidence: str = "", limit: Limited | None = None, hint: str = "") -> Verdict:
    known = FAILURES[kind]
    if kind in LIMITS and limit is None:
        limit = Limited(evidence[:2000], kind=LIMITS[kind])
    return Verdict(known.verdict, known.code, known.message, hint or known.hint, evidence[:2000], limit)


def limited(limit: Limited) -> Verdict:
    """The verdict of a limit that was seen in the stream."""
    named = {name: kind for kind, name in LIMITS.items()}
    return failure(named.get(limit.kind, "quota"), limit.evidence, limit)
