"""Jobs, sheets and attempts as people and scripts see them: the JSON shapes of the `--json` contract.

Pure. Times leave as RFC 3339 UTC with milliseconds; everything inside is seconds since the epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import orjson

from ipc.messages import Tokens, attempt_id
from ipc.states import SHEET_ENDED
from mozartd.coordinator.crew import Crew
from mozartd.coordinator.journal import Event
from mozartd.coordinator.model import Job, Sheet


def rfc3339(when: float | None) -> str | None:
    """UTC with milliseconds; None, and what never comes, is None."""
    if when is None or when == math.inf:
        return None
    seconds, milliseconds = divmod(round(when * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}Z"


_UNKNOWN_TOKENS = dict.fromkeys(Tokens.__annotations__)


def job_json(job: Job) -> dict[str, Any]:
    return row_json(job.row())


def row_json(row: Mapping[str, Any], unsaved: bool = False) -> dict[str, Any]:
    """A job as its row has it. `unsaved`: something about it is only in memory, because the disk does not take it."""
    starts = row["not_before"] if row["started_at"] is None and row["state"] == "queued" else 0.0
    counts, tokens = orjson.loads(row["counts"]), orjson.loads(row["tokens"])
    return {
        "id": row["id"], "name": row["name"], "state": row["state"], "reason": row["reason"], "score": row["score_path"],
        "workspace": row["workspace"], "submitted_at": rfc3339(row["submitted_at"]), "starts_at": rfc3339(starts or None),
        "started_at": rfc3339(row["started_at"]), "ended_at": rfc3339(row["ended_at"]), "ran_seconds": row["ran_seconds"],
        "ran_since": rfc3339(row["ran_since"]),
        "priority": row["priority"], "group": row["group_name"],
        "sheets": {state: count for state, count in counts.items() if count}, "cost_usd": row["cost_usd"],
        "tokens": {**_UNKNOWN_TOKENS, **tokens}, "unsaved": unsaved,
    }  # fmt: skip


def sheet_json(job: Job, sheet: Sheet, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    last = sheet.last
    rules = last["validations"] if last else []
    ran = attempts[-1]["backend"] if attempts and sheet.state in SHEET_ENDED else None
    backend = ran or sheet.scope.partition("/")[0]
    return {
        "n": sheet.n, "stage": sheet.stage, "instance": sheet.instance, "state": sheet.state.value, "reason": sheet.reason,
        "until": rfc3339(sheet.until), "dependencies": list(sheet.dependencies), "backend": backend,
        "attempts": attempts, "cost_usd": sheet.cost_usd,
        "validations": [{key: rule[key] for key in ("type", "description", "passed", "detail")} for rule in rules],
    }  # fmt: skip


_ATTEMPT_FACTS = (
    "verdict", "code", "message", "hint", "evidence", "exit_code", "signal", "worker_pid", "agent_pid", "bytes", "lines",
    "cost_usd", "tokens", "session_id", "model", "backend", "backend_reason",
)  # fmt: skip


def attempt_json(row: Mapping[str, Any], log: str) -> dict[str, Any]:
    """From an attempt's row."""
    facts = orjson.loads(row["facts"])
    return {
        "k": row["k"], "mode": row["mode"], "state": row["state"],
        **{key: facts.get(key) for key in _ATTEMPT_FACTS},
        "started_at": rfc3339(facts.get("started_at")), "ended_at": rfc3339(facts.get("ended_at")), "log": log,
        "interrupted": facts.get("verdict") == "interrupted",
    }  # fmt: skip


def event_json(event: Event) -> dict[str, Any]:
    found = {"job": event.job, "sheet": event.sheet, "attempt": event.attempt}
    data = {**event.data}
    if "until" in data:
        data["until"] = rfc3339(data["until"])
    return {
        "id": event.id, "time": rfc3339(event.at), "type": event.type,
        **{key: value for key, value in found.items() if value is not None}, "data": data,
    }  # fmt: skip


def workers_json(crew: Crew) -> list[dict[str, Any]]:
    workers = sorted(crew.workers.values(), key=lambda worker: worker.name)
    return [
        {"pid": worker.pid, "credit": worker.credit, "running": len(worker.running), "restarts": worker.restarts}
        for worker in workers
    ]


def running_progress(rows: list[dict[str, Any]], job: Job, live: Mapping[str, Any]) -> None:
    """Lay what running attempts reported since their row was written over their JSON."""
    for row in rows:
        for attempt in row["attempts"]:
            facts = live.get(attempt_id(job.id, row["n"], attempt["k"]))
            if facts is not None:
                attempt["bytes"], attempt["lines"] = facts.facts.get("bytes"), facts.facts.get("lines")
