"""`daemon.status`, `daemon.environment` and `daemon.drain`: the daemon itself.

{} → what `mozartd status --json` shows. Environment: {} → {variables, submit_env}: name and origin of each variable that agents
get, never its value. Drain: {} → {state}; nothing new starts, and when nothing runs everything stops.
"""

from __future__ import annotations

import os
import time
from typing import Any

from ipc import VERSION
from ipc.environment import is_named
from mozartd.coordinator.clients import Session
from mozartd.coordinator.describe import workers_json
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts


async def handle_status(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    params.finish()
    await parts.turn.shown()
    return await daemon_json(parts)


async def handle_environment(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    params.finish()
    names = parts.settings.submit_env
    start = "the unit" if is_unit(parts) else "mozart run" if parts.setup.started_by_client else "mozartd start"
    found = dict.fromkeys(os.environ, f"the start of the daemon ({start})")
    found |= {name: "systemd's credentials, for ${NAME} alone" for name in _credentials() if name not in found}
    found = {
        name: f"the submitter, else {origin}" if is_named(name, names) else origin for name, origin in found.items()
    }
    found |= {name: "the submitter" for name in names if name not in found}
    return {"variables": [{"name": name, "from": found[name]} for name in sorted(found)], "submit_env": names}


def is_unit(parts: Parts) -> bool:
    """Whether a service manager started this daemon, so that what it has was meant for it."""
    return os.environ.get("SYSTEMD_EXEC_PID") == str(parts.setup.supervisor_pid)


def _credentials() -> list[str]:
    try:
        return os.listdir(os.environ["CREDENTIALS_DIRECTORY"])
    except (KeyError, OSError):
        return []


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
