"""`limits` and `limits.clear`: the holds on backend scopes, and their end by hand.

`limits` {} → {holds}. `limits.clear` {scope} → {holds}: those that it ended.
A scope is `backend/account/model`; less of it, to clear, stands for every hold on what begins so. What is held whole has
`*` for the account or model.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from ipc.errors import LIMIT_CODES, MozartError
from ipc.states import Sheet as SheetState
from mozartd.coordinator.book import Book
from mozartd.coordinator.clients import Session
from mozartd.coordinator.describe import rfc3339
from mozartd.coordinator.limits import forecast
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.steps import yielding
from mozartd.coordinator.throttle import Throttle


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    params.finish()
    await parts.turn.shown()
    waiting = await count_waiting(parts.book)
    return answer_of(parts, parts.limits.held(time.time()), waiting)


async def handle_clear(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed = plain(params.text("scope"))
    params.finish()
    waiting = await count_waiting(parts.book)
    now = time.time()
    chosen = [throttle for throttle in parts.limits.held(now) if matches(throttle.scope, typed)]
    if not chosen:
        raise MozartError("no_hold", f"cannot clear {typed!r}: nothing holds it", "`mozart limits` shows the holds")
    answer = answer_of(parts, chosen, waiting)
    parts.journal.append(now, "asked.clear", by=session.who, scope=typed)
    for throttle in chosen:
        parts.limits.clear(throttle.scope, now)
        _wake(parts.book, throttle.scope, now)
    return await parts.once.commit(params.key, answer)


def _wake(book: Book, scope: str, now: float) -> None:
    """Those that met the limit wait for the end it had; other waits are their own."""
    for job in book.jobs.values():
        if not job.counts[SheetState.WAITING.value]:
            continue
        for sheet in job.sheets.values():
            met = sheet.last is not None and sheet.last["code"] in LIMIT_CODES
            if sheet.state is SheetState.WAITING and sheet.scope == scope and met:
                book.change_sheet(job, sheet, "ready", now, "the hold was cleared")


def plain(typed: str) -> str:
    """Without the stars by which the answers say that all of it is meant."""
    return typed.rstrip("/").removesuffix("/*").removesuffix("/*")


def matches(scope: str, typed: str) -> bool:
    return scope == typed or scope.startswith(f"{typed}/")


async def count_waiting(book: Book) -> Counter[str]:
    """Sheets that wait, by scope."""
    waiting: Counter[str] = Counter()
    async for job in yielding([*book.jobs.values()]):
        waiting.update({scope: len(numbers) for scope, numbers in job.ready.items()})
        if job.counts[SheetState.WAITING.value]:
            async for sheet in yielding([*job.sheets.values()]):
                waiting[sheet.scope] += sheet.state is SheetState.WAITING
    return waiting


def answer_of(parts: Parts, throttles: list[Throttle], waiting: Counter[str]) -> dict[str, Any]:
    return {
        "holds": [
            _hold_json(throttle, sum(count for scope, count in waiting.items() if matches(scope, throttle.scope)))
            | {"unsaved": parts.turn.is_row_unsaved(throttle.scope)}
            for throttle in throttles
        ]
    }


def _hold_json(throttle: Throttle, waiting: int) -> dict[str, Any]:
    backend, account, model = (*throttle.scope.split("/", 2), "*", "*")[:3]
    return {
        "scope": {"backend": backend, "account": account, "model": model}, "name": throttle.scope,
        "until": rfc3339(throttle.until), "since": rfc3339(throttle.since), "reason": throttle.reason,
        "evidence": throttle.evidence, "waiting": waiting,
        "kind": throttle.kind, "forecast": forecast(throttle),
    }  # fmt: skip
