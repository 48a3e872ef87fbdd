"""`limits`, `limits.clear`, `hold`: the holds on backend scopes, seen and set by hand.

`limits` {} → {holds}. `limits.clear` {scope} → {holds}: those that it ended. `hold` {scope, seconds, reason?} → {holds}.
A scope is `backend/account/model`; less of it stands for every known scope that begins so.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

from ipc.errors import MozartError
from ipc.states import Sheet as SheetState
from mozartd.coordinator.clients import Session
from mozartd.coordinator.describe import rfc3339
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.throttle import Throttle


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    params.finish()
    await parts.turn.committed()
    return _answer(parts, parts.limits.held(time.time()))


async def handle_clear(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed = params.text("scope")
    params.finish()
    now = time.time()
    chosen = [throttle for throttle in parts.limits.held(now) if _matches(throttle.scope, typed)]
    if not chosen:
        raise MozartError("no_hold", f"cannot clear {typed!r}: nothing holds it", "`mozart limits` shows the holds")
    answer = _answer(parts, chosen)
    for throttle in chosen:
        parts.limits.clear(throttle.scope, now)
    await parts.turn.committed()
    return answer


async def handle_hold(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, seconds = params.text("scope"), params.seconds("seconds")
    reason = params.text_or("reason", "held by hand")
    params.finish()
    now = time.time()
    until = math.inf if seconds is None else now + seconds
    scopes = [scope for scope in _known(parts) if _matches(scope, typed)] or [_whole(typed)]
    for scope in scopes:
        parts.limits.hold(scope, until, reason, "", now)
    await parts.turn.committed()
    return _answer(parts, [parts.limits.of(scope) for scope in scopes])


def _known(parts: Parts) -> set[str]:
    jobs = parts.book.jobs.values()
    return {sheet.scope for job in jobs for sheet in job.sheets.values()} | parts.limits.scopes()


def _matches(scope: str, typed: str) -> bool:
    return scope == typed or scope.startswith(f"{typed.rstrip('/')}/")


def _whole(typed: str) -> str:
    given = [part for part in typed.split("/", 2) if part]
    if not given:
        raise MozartError(
            "unknown_scope", f"cannot hold {typed!r}", "a scope is backend/account/model, or only a backend"
        )
    return "/".join([*given, "default", "default"][:3])


def _answer(parts: Parts, throttles: list[Throttle]) -> dict[str, Any]:
    waiting: Counter[str] = Counter()
    for job in parts.book.jobs.values():
        waiting.update({scope: len(numbers) for scope, numbers in job.ready.items()})
        waiting.update(sheet.scope for sheet in job.sheets.values() if sheet.state is SheetState.WAITING)
    return {"holds": [_hold_json(throttle, waiting[throttle.scope]) for throttle in throttles]}


def _hold_json(throttle: Throttle, waiting: int) -> dict[str, Any]:
    backend, account, model = throttle.scope.split("/", 2)
    return {
        "scope": {"backend": backend, "account": account, "model": model}, "name": throttle.scope,
        "until": rfc3339(throttle.until), "since": rfc3339(throttle.since), "reason": throttle.reason,
        "evidence": throttle.evidence, "waiting": waiting,
        "forecast": {"calls": throttle.allowance, "seconds": throttle.period},
    }  # fmt: skip
