"""`group.set` and `group.list`: groups of jobs with a limit of their own.

{name, parallel} → {groups}: how many sheets of the group's jobs run at once; null takes the limit away. {} → {groups}.
"""

from __future__ import annotations

import time
from typing import Any

from ipc.errors import EXIT_USAGE, MozartError
from mozartd.coordinator.clients import Session
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts


async def handle_set(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    name, parallel = params.text("name"), params.whole("parallel")
    params.finish()
    if not name or parallel == 0:
        raise MozartError(
            "usage", f"cannot limit group {name!r} to {parallel}", "a group has a name and at least 1", EXIT_USAGE
        )
    if parallel is None:
        parts.turn.write([("drop_group", {"name": name})])
        parts.groups.pop(name, None)
    else:
        parts.turn.write([("put_group", {"name": name, "parallel": parallel})])
        parts.groups[name] = parallel
    parts.journal.append(time.time(), "asked.group", by=session.who, group=name, parallel=parallel)
    return await parts.once.commit(params.key, _answer(parts))


async def handle_list(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    params.finish()
    await parts.turn.shown()
    return _answer(parts)


def _answer(parts: Parts) -> dict[str, Any]:
    running = parts.book.running_in
    groups = parts.groups.items()
    return {
        "groups": [
            {
                "name": name,
                "parallel": cap,
                "running": running[f"group:{name}"],
                "unsaved": parts.turn.is_row_unsaved(name),
            }
            for name, cap in sorted(groups)
        ]
    }
