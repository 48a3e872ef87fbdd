"""`daemon.status` and `daemon.drain`: the daemon itself.

{} → what `mozartd status --json` shows. Drain: {} → {state}; nothing new starts, and when nothing runs everything stops.
"""

from __future__ import annotations

import os
import time
from typing import Any

from ipc import VERSION
from mozartd.coordinator.clients import Session
from mozartd.coordinator.describe import workers_json
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts


async def handle_status(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    params.finish()
    await parts.turn.shown()
    return await daemon_json(parts)


async def handle_drain(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    params.finish()
    parts.journal.append(time.time(), "asked.drain", by=session.who)
    parts.drain()
    return {"state": "draining", "running": len(parts.book.running)}


async def daemon_json(parts: Parts) -> dict[str, Any]:
    setup = parts.setup
    counts = await parts.store.read("count_jobs")
    return {
        "state": _state(parts), "reason": parts.troubles.reason, "pid": setup.supervisor_pid, "version": VERSION,
        "uptime_seconds": round(time.time() - setup.started_at, 3), "socket": setup.paths.client_socket,
        "metrics_url": parts.metrics_url, "coordinator": {"pid": os.getpid(), "restarts": setup.restarts},
        "workers": workers_json(parts.crew), "jobs": {row["state"]: row["count"] for row in counts},
        "sheets": dict(+parts.book.counts), "holds": len(parts.limits.held(time.time())),
        "followers": len(parts.followers),
    }  # fmt: skip


def _state(parts: Parts) -> str:
    if parts.troubles.reason:
        return "degraded"
    if parts.turn.draining:
        return "draining"
    return "ready" if parts.crew.workers else "starting"
