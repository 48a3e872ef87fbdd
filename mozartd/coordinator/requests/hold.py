"""`hold`: start nothing on a backend's scope for a while, by hand.

{scope, seconds?, reason?} → {holds}. Without seconds: until `limits.clear`. Less than a whole scope stands for every known
scope that begins so.
"""

from __future__ import annotations

import math
import time
from typing import Any

from ipc.errors import MozartError
from mozartd.coordinator.clients import Session
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.requests.limits import answer_of, matches


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, seconds = params.text("scope"), params.seconds("seconds")
    reason = params.text_or("reason", "held by hand")
    params.finish()
    now = time.time()
    until = math.inf if seconds is None else now + seconds
    scopes = [scope for scope in _known(parts) if matches(scope, typed)] or [_whole(typed)]
    parts.journal.append(now, "asked.hold", by=session.who, scope=typed, seconds=seconds, reason=reason)
    for scope in scopes:
        parts.limits.hold_by_hand(scope, until, reason, now)
    return await parts.once.commit(params.key, answer_of(parts, [parts.limits.of(scope) for scope in scopes]))


def _known(parts: Parts) -> set[str]:
    jobs = parts.book.jobs.values()
    return {sheet.scope for job in jobs for sheet in job.sheets.values()} | parts.limits.scopes()


def _whole(typed: str) -> str:
    given = [part for part in typed.split("/", 2) if part]
    if not given:
        raise MozartError(
            "unknown_scope", f"cannot hold {typed!r}", "a scope is backend/account/model, or only a backend"
        )
    return "/".join([*given, "default", "default"][:3])
