"""What happened, in order: the one stream of events that everything else consumes.

`append` numbers an event and hands it to the turn's next transaction; after the commit `publish` makes it visible. The newest
ones stay in memory so that live followers cost no query; older ones are read from the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

import orjson

#: Events kept in memory.
RECENT = 4096


class Event(NamedTuple):
    id: int
    at: float
    type: str
    job: str | None
    sheet: int | None
    attempt: int | None
    data: dict[str, Any]

    def row(self) -> dict[str, Any]:
        return {**self._asdict(), "data": orjson.dumps(self.data).decode()}

    def earlier(self, by: int) -> Event:
        return self._replace(id=self.id - by)

    def rows(self) -> Iterator[dict[str, Any]]:
        yield self.row()


class Many:
    """Events made aside, which are numbered when they are told and become rows where those are written: thousands of them cost
    the loop no more than one."""

    __slots__ = ("_events", "first")

    def __init__(self, first: int, events: list[Event]) -> None:
        self.first, self._events = first, events

    def __repr__(self) -> str:
        return f"<Many {self.first}-{self.id}>"

    @property
    def id(self) -> int:
        """Of the last one."""
        return self.first + len(self._events) - 1

    def earlier(self, by: int) -> Many:
        return Many(self.first - by, self._events)

    def rows(self) -> Iterator[dict[str, Any]]:
        for id, event in enumerate(self._events, self.first):
            yield {**event.row(), "id": id}


Told = Event | Many


class Journal:
    def __init__(self, last_id: int) -> None:
        self._last_id = last_id
        self.last_published = last_id
        self._unwritten: list[Told] = []
        self.recent: deque[Event] = deque(maxlen=RECENT)
        self.listeners: set[Callable[[], None]] = set()
        """Called after each publish, with nothing: they look at what they have not seen."""

    def append(
        self,
        at: float,
        type: str,
        job: str | None = None,
        sheet: int | None = None,
        attempt: int | None = None,
        **data: Any,
    ) -> None:
        self._last_id += 1
        self._unwritten.append(Event(self._last_id, at, type, job, sheet, attempt, data))

    @property
    def has_unwritten(self) -> bool:
        return bool(self._unwritten)

    def take_unwritten(self) -> list[Told]:
        events, self._unwritten = self._unwritten, []
        return events

    def append_many(self, events: list[Event]) -> None:
        """The same of events that were made aside; their numbers there mean nothing. The list is ours from now on."""
        if events:
            self._unwritten.append(Many(self._last_id + 1, events))
            self._last_id += len(events)

    def take_back(self, events: list[Told]) -> None:
        """They were the last ones that were taken, and will not be written: nobody has seen their numbers, nor any behind."""
        self._last_id -= len(events)
        self._unwritten = [event.earlier(len(events)) for event in self._unwritten]

    def publish(self, events: list[Told]) -> None:
        """They are on disk: show them. In parts that memory holds, so that who looks each time misses nothing; those that were
        made aside are read from there."""
        for is_many, some in groupby(events, lambda event: type(event) is Many):
            told = list(some)
            for first in range(0, len(told), RECENT):
                if is_many:
                    self.recent.clear()
                else:
                    self.recent.extend(told[first : first + RECENT])  # type: ignore[arg-type]
                self._show(told[first : first + RECENT][-1].id)

    def _show(self, last: int) -> None:
        self.last_published = last
        for listener in tuple(self.listeners):
            listener()

    def recent_since(self, since: int) -> list[Event] | None:
        """The events after `since`, or None when memory does not reach back that far."""
        if not self.recent:
            return [] if since >= self.last_published else None
        if since < self.recent[0].id - 1:
            return None
        if since >= self.recent[-1].id:
            return []
        first = since - self.recent[-1].id  # ids have no gaps
        return [self.recent[index] for index in range(first, 0)]
