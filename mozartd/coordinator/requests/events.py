"""`events.follow`: what happened, in order, from the store and then live.

{job?, since?, at?, tail?, follow} → {job?, subscription, since, more}: what comes after that event, or from that time on, or
the last so many of those, or from now on, as `events.event` notifications; then, without follow or at the job's end,
`events.end`.
`more`: what `tail` has left out.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from ipc.connection import Connection
from mozartd.coordinator.clients import Session
from mozartd.coordinator.describe import event_json
from mozartd.coordinator.followers import end_of
from mozartd.coordinator.journal import Event
from mozartd.coordinator.model import Job
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.store.store import Row

#: Events read from the store at a time.
PAGE = 500


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, since, follow = params.text_or("job", ""), params.whole("since"), params.flag("follow")
    at, tail = params.seconds("at"), params.whole("tail")
    params.finish()
    job = await parts.registry.find(typed) if typed else None
    await parts.turn.shown()
    if at is not None:
        since = max(since or 0, await _id(parts, "last_event_before", at=at) or 0)
    if tail is not None:
        cut = await _before_last(parts, job, since or 0, tail)
        since, more = cut or since or 0, cut is not None
    else:
        more = False
    since = parts.journal.last_published if since is None else since
    subscription = session.next_subscription()
    reader = _Reader(parts, session.connection, subscription, job, since, follow)
    session.spawn(reader.run(), "events.follow")
    return {"subscription": subscription, "since": since, "more": more, **({"job": job.id} if job else {})}


async def _before_last(parts: Parts, job: Job | None, since: int, tail: int) -> int | None:
    """The event after which the last `tail` come; None when there are no more than those."""
    if job is None:
        return await _id(parts, "event_before_last", since=since, tail=tail)
    return await _id(parts, "job_event_before_last", job=job.id, since=since, tail=tail)


async def _id(parts: Parts, statement: str, **values: Any) -> int | None:
    row = await parts.store.read_one(statement, **values)
    return row["id"] if row else None


class _Reader:
    """One subscription: the id of the last event sent, and what comes after it."""

    def __init__(
        self, parts: Parts, connection: Connection, subscription: int, job: Job | None, since: int, follow: bool
    ) -> None:
        self._parts = parts
        self._connection = connection
        self._subscription = subscription
        self._job = job
        self._since = since
        self._follow = follow
        self._woken = asyncio.Event()

    async def run(self) -> None:
        listeners = self._parts.journal.listeners
        listeners.add(self._woken.set)
        try:
            while not self._connection.lost:
                self._woken.clear()
                over = self._is_over()
                if await self._send_new():
                    continue
                if over:
                    self._notify("events.end", end_of(self._job) if self._job else {})
                    return
                await self._woken.wait()
        finally:
            listeners.discard(self._woken.set)

    def _is_over(self) -> bool:
        job = self._job
        return not self._follow or (job is not None and job.is_over)

    async def _send_new(self) -> bool:
        events = self._parts.journal.recent_since(self._since)
        if events is None:
            events = await self._read()
        # Cut before filtering: other jobs' events count as seen.
        for event in events[:PAGE]:
            self._since = event.id
            if self._job is None or event.job == self._job.id:
                self._notify("events.event", event_json(event))
        await self._connection.drained()
        return bool(events)

    async def _read(self) -> list[Event]:
        if self._job is None:
            rows = await self._parts.store.read("events_since", since=self._since, limit=PAGE)
        else:
            rows = await self._parts.store.read("job_events_since", job=self._job.id, since=self._since, limit=PAGE)
        events = [self._event(row) for row in rows]
        if not events and self._parts.journal.recent:
            # Nothing older: go on with what is in memory.
            self._since = max(self._since, self._parts.journal.recent[0].id - 1)
        return events

    def _event(self, row: Row) -> Event:
        try:
            return Event(**{**row, "data": orjson.loads(row["data"])})
        except orjson.JSONDecodeError as error:
            # What it said is lost; those behind it are not.
            found = self._parts.troubles.damaged_row(self._parts.setup.paths.database, error)
            return Event(**{**row, "data": {"damaged": found.message}})

    def _notify(self, method: str, params: dict[str, Any]) -> None:
        self._connection.send(
            {"jsonrpc": "2.0", "method": method, "params": {"subscription": self._subscription, **params}}
        )
