"""One error for everything a person may be told: a code, a sentence, a hint, and how a command exits because of it.

Sentences begin with what could not be done and name what the user typed. Raised anywhere; caught at three edges: the CLI's
main, the coordinator's request dispatch (where it becomes a JSON-RPC error with `data: {code, hint}`), a worker's attempt.
"""

from __future__ import annotations

from typing import Any

#: Exit codes of every command (what they mean for each verb: `cli.exits`).
EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PAUSED = 3
EXIT_UNREACHABLE = 4
#: What was asked for is done, or the job goes on; its answer could not be written.
EXIT_OUTPUT = 5
EXIT_TIMEOUT = 124
"""A `--timeout` of ours ran out, as `timeout` of coreutils says it."""
EXIT_INTERRUPTED = 130
#: What a shell reports for a program that SIGPIPE ended, as ours would have been: `mozart logs JOB | head`.
EXIT_PIPE_CLOSED = 141


class MozartError(Exception):
    """`code` is one of the catalogue's (`E505`, `V108`) or a word (`unknown_job`); `exit_code` is for commands."""

    def __init__(self, code: str, message: str, hint: str = "", exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[MozartError], tuple[str, str, str, int]]:
        return type(self), (self.code, self.message, self.hint, self.exit_code)

    def as_rpc(self) -> dict[str, Any]:
        """The `error` member of a JSON-RPC response."""
        data = {"code": self.code, "hint": self.hint, "exit_code": self.exit_code}
        return {"code": RPC_APPLICATION, "message": self.message, "data": data}

    @classmethod
    def from_rpc(cls, error: dict[str, Any]) -> MozartError:
        data = error.get("data") or {}
        code = data.get("code") or str(error.get("code", "unknown"))
        return cls(code, error.get("message", "the daemon gave no reason"), data.get("hint", ""),
                   data.get("exit_code", EXIT_FAILED))  # fmt: skip


def unmet(rule: str, detail: str) -> str:
    """A rule that failed, in words. What a file's rule says of itself is no more than what was found instead."""
    found = detail.strip().partition("\n")[0]
    return found if found and rule.startswith("the file ") else f"{rule} ({found})" if found else rule


#: JSON-RPC 2.0 error codes.
RPC_INVALID_REQUEST = -32600
RPC_UNKNOWN_METHOD = -32601
RPC_INVALID_PARAMS = -32602
RPC_INTERNAL = -32603
RPC_APPLICATION = -32000

#: Attempt codes (score-format §8): code → (meaning, whether another attempt may help).
CODES: dict[str, tuple[str, bool]] = {
    "E001": ("timeout", True),
    "E002": ("killed by a signal", True),
    "E003": ("crashed", False),
    "E004": ("interrupted", False),
    "E005": ("out of memory", False),
    "E006": ("stalled: no output for too long", True),
    "E007": ("result seen, process would not exit", True),
    "E009": ("unknown execution error", True),
    "E010": ("the machine could not start it", True),
    "E101": ("API rate limit", True),
    "E102": ("CLI rate limit", True),
    "E103": ("capacity, overloaded", True),
    "E104": ("quota or usage limit", True),
    "E201": ("file missing", True),
    "E202": ("content mismatch", True),
    "E203": ("validation command failed", True),
    "E204": ("validation timed out", True),
    "E205": ("validation could not be judged", True),
    "E209": ("validation failed", True),
    "E301": ("configuration invalid", False),
    "E302": ("field missing", False),
    "E303": ("path not found", False),
    "E304": ("parse error", False),
    "E305": ("MCP configuration", False),
    "E306": ("CLI mode mismatch", False),
    "E401": ("state corrupt", False),
    "E402": ("state could not be loaded", True),
    "E403": ("state could not be saved", True),
    "E404": ("state has another version", False),
    "E501": ("connection", True),
    "E502": ("authentication", False),
    "E503": ("bad response", True),
    "E504": ("backend timeout", True),
    "E505": ("program not found", False),
    "E506": ("model not found", False),
    "E507": ("prompt too long", False),
    "E508": ("refused", False),
    "E509": ("turn or budget cap reached", False),
    "E601": ("path", False),
    "E602": ("prompt size", False),
    "E603": ("working directory", False),
    "E604": ("rule set-up", False),
    "E901": ("network", True),
    "E902": ("DNS", True),
    "E903": ("TLS", True),
    "E904": ("network timeout", True),
    "E999": ("unknown", True),
}

#: Codes that mean a hold on the backend's scope and spend no retry.
LIMIT_CODES = frozenset({"E101", "E102", "E103", "E104"})
#: Codes that say that the service is in trouble, not the sheet: enough of them in a row open the scope's breaker.
SERVICE_CODES = frozenset({"E501", "E503", "E504", "E901", "E902", "E903", "E904"})
#: Codes that say that the machine had no room, not that the sheet failed: it waits, and spends no retry.
MACHINE_CODES = frozenset({"E010", "E403"})
#: Codes that only a person can mend, for everybody on the scope.
PERSON_CODES = frozenset({"E502"})
