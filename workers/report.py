"""The `finished` frame of an attempt, from what was seen. Pure. Called by `attempt`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from backends.base import Event, Result, Session, Usage, Verdict
from ipc.errors import unmet
from ipc.messages import Finished, Limit, Tokens, Validation
from workers.mask import Mask

#: Bytes of evidence that travel.
EVIDENCE_BYTES = 2048
#: Characters of a text and members of a list that travel when a report is too big or cannot be encoded.
SALVAGED_CHARS, SALVAGED_ITEMS = 2000, 500


@dataclass(slots=True)
class Facts:
    """What is known of an attempt so far; filled in as it goes on."""

    attempt: str
    verdict: Verdict = field(default_factory=lambda: Verdict("ok"))
    note: str = ""
    """What a person should know beside the verdict."""
    agent_pid: int = 0
    started_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    stopped_by: str | None = None
    bytes: int = 0
    lines: int = 0
    log_bytes: int = 0
    """Where its log ends."""
    tail: str = ""
    answer: str = ""
    """What it answered, where its backend tells that from the rest of its output."""
    usage: Usage | None = None
    session: Session | None = None
    held: list[int] = field(default_factory=list)
    """Rules that held before the sheet's first attempt, or of which nobody can tell."""
    validations: list[Validation] = field(default_factory=list)
    applicable: int = 0
    captured: dict[str, str] = field(default_factory=dict)
    survivors: int = 0

    def see(self, event: Event) -> None:
        if isinstance(event, Usage):
            self.usage = event
        elif isinstance(event, Session):
            self.session = event
        elif isinstance(event, Result) and event.ok:
            self.answer = event.text


_RULE_HINTS = {
    "E201": "check the path of this validation; the agent must create that file",
    "E202": "compare the file with the validation",
    "E203": "run the command by hand in the workspace",
    "E204": "raise timeout_seconds of this validation",
}


def judge(verdict: Verdict, validations: list[Validation]) -> Verdict:
    """A run that went well and left something unsatisfied is incomplete; any other verdict stays what happened."""
    failed = next((each for each in validations if not each["passed"]), None)
    if verdict.name not in ("ok", "incomplete") or failed is None:
        return verdict
    message = f"validation failed: {unmet(failed['description'], failed['detail'])}"
    return Verdict(
        "incomplete", failed["code"], message, _RULE_HINTS.get(failed["code"], "check the validation itself")
    )


def finished(facts: Facts, now: float) -> Finished:
    verdict, usage = facts.verdict, facts.usage
    return {
        "type": "finished",
        "attempt": facts.attempt,
        "verdict": verdict.name,
        "code": verdict.code,
        "message": "; ".join(part for part in (verdict.message, facts.note) if part),
        "hint": verdict.hint,
        "evidence": _cut(verdict.evidence),
        "exit_code": facts.exit_code,
        "signal": facts.signal,
        "stopped_by": facts.stopped_by,
        "started_at": facts.started_at,
        "ended_at": now,
        "bytes": facts.bytes,
        "lines": facts.lines,
        "log_bytes": facts.log_bytes,
        "tail": facts.tail,
        "cost_usd": usage.cost_usd if usage else None,
        "tokens": _tokens(usage) if usage else None,
        "session_id": facts.session.session_id if facts.session else None,
        "model": facts.session.model if facts.session else None,
        "limit": _limit(verdict),
        "validations": facts.validations,
        "applicable": facts.applicable,
        "captured": facts.captured,
        "survivors": facts.survivors,
    }


def _tokens(usage: Usage) -> Tokens:
    return {
        "input": usage.input,
        "output": usage.output,
        "cache_read": usage.cache_read,
        "cache_write": usage.cache_write,
    }


def _limit(verdict: Verdict) -> Limit | None:
    limit = verdict.limit
    if limit is None:
        return None
    return {"until": limit.until, "retry_after": limit.retry_after, "kind": limit.kind, "guess": limit.guess}


def _cut(text: str) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= EVIDENCE_BYTES else data[:EVIDENCE_BYTES].decode("utf-8", "ignore")


def salvage(value: Any) -> Any:
    """What any frame can carry of a report: less of it, and without what is no text (a file name of odd bytes, say)."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()[-SALVAGED_CHARS:]
    if isinstance(value, list):
        return [salvage(item) for item in value[:SALVAGED_ITEMS]]
    if isinstance(value, dict):
        items = list(value.items())[:SALVAGED_ITEMS]
        return {salvage(key): salvage(item) for key, item in items}
    return value


def masked(report: Finished, mask: Mask) -> Finished:
    """Without the secrets that reached it on other ways than the agent's output: a file's content, a command's words."""
    told = {key: value if key in _NAMES else _masked(value, mask) for key, value in report.items()}
    return cast("Finished", told)


#: Of a report, what is a name and must stay one.
_NAMES = ("type", "attempt", "session_id")


def _masked(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        # Whatever is in the text, lone surrogates too, is there afterwards.
        return mask.apply(value.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    if isinstance(value, list):
        return [_masked(item, mask) for item in value]
    if isinstance(value, dict):
        return {key: _masked(item, mask) for key, item in value.items()}
    return value
