"""One file per verb, the same word as in `cli/commands/`; each answers after its changes are on disk.

A handler takes (parts, session, params) and returns the result; it reads every parameter and calls `params.finish()`. Those of
requests that may carry a key commit their changes together with their answer (`parts.once`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from orjson import JSONDecodeError

from ipc.line import KEYED
from mozartd.coordinator.clients import Handler, Session
from mozartd.coordinator.params import InvalidParamsError, Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.requests import (
    cancel,
    daemon,
    events,
    gc,
    group,
    hold,
    limits,
    list,
    logs,
    modify,
    pause,
    priority,
    prompt,
    reorder,
    resume,
    retry,
    status,
    submit,
    wait,
)

#: Characters of a key, which is kept for a while.
LONGEST_KEY = 100

_Handle = Callable[[Parts, Session, Params], Awaitable[Any]]

_HANDLERS: dict[str, _Handle] = {
    "submit": submit.handle,
    "status": status.handle,
    "list": list.handle,
    "logs.follow": logs.handle,
    "events.follow": events.handle,
    "prompt": prompt.handle,
    "wait": wait.handle,
    "cancel": cancel.handle,
    "retry": retry.handle,
    "pause": pause.handle,
    "resume": resume.handle,
    "priority": priority.handle,
    "reorder": reorder.handle,
    "modify": modify.handle,
    "limits": limits.handle,
    "limits.clear": limits.handle_clear,
    "hold": hold.handle,
    "group.set": group.handle_set,
    "group.list": group.handle_list,
    "gc": gc.handle,
    "daemon.status": daemon.handle_status,
    "daemon.environment": daemon.handle_environment,
    "daemon.drain": daemon.handle_drain,
}


def bind(parts: Parts) -> dict[str, Handler]:
    """The handlers of one coordinator, by method."""
    return {
        method: partial(_answer, parts, partial(_once, parts, handle) if method in KEYED else partial(handle, parts))
        for method, handle in _HANDLERS.items()
    }


async def _answer(parts: Parts, handle: Handler, session: Session, params: Params) -> Any:
    """The answer, or what is wrong with the rows that it is made of."""
    try:
        return await handle(session, params)
    except JSONDecodeError as error:
        raise parts.troubles.damaged_row(parts.setup.paths.database, error) from None


async def _once(parts: Parts, handle: _Handle, session: Session, params: Params) -> Any:
    """Not again what was done under the same key, also by a coordinator before this one."""
    params.key = params.text_or("key", "")
    if len(params.key) > LONGEST_KEY:
        raise InvalidParamsError(f"cannot use a key of {len(params.key)} characters: at most {LONGEST_KEY} are allowed")
    return await parts.once.ask(params.key, partial(handle, parts, session, params))
