"""`hold`: start nothing on a backend's scope for a while, by hand.

{scope, seconds?, reason?} → {holds, warnings}. Without seconds: until `limits.clear`. A backend, or a backend's
account, stands for whatever belongs to it, now and later.
"""

from __future__ import annotations

import math
import time
from typing import Any

from ipc.errors import MozartError
from mozartd.coordinator.clients import Session
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.requests.limits import answer_of, count_waiting, plain
from mozartd.settings import doubt_of_backend


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, seconds = params.text("scope"), params.seconds("seconds")
    reason = params.text_or("reason", "held by hand")
    params.finish()
    waiting = await count_waiting(parts.book)
    now = time.time()
    until = math.inf if seconds is None else now + seconds
    scope = plain(typed)
    if not all(scope.split("/")):
        raise MozartError(
            "unknown_scope", f"cannot hold {typed!r}", "a scope is backend/account/model, or what it begins with"
        )
    parts.journal.append(now, "asked.hold", by=session.who, scope=scope, seconds=seconds, reason=reason)
    parts.limits.hold_by_hand(scope, until, reason, now)
    doubt = doubt_of_backend(scope.partition("/")[0])
    answer = {**answer_of(parts, [parts.limits.of(scope)], waiting), "warnings": [doubt] if doubt else []}
    return await parts.once.commit(params.key, answer)
