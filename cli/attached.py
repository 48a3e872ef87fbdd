"""Watching a job to its end: three ways to show one feed of logs and events.

`JsonView` prints records for scripts; `PlainView` lines for a pipe or a file; `cli.progress.LiveView` lines above a
panel that says what runs. Each is told of chunks and events as they come, and of the time when it asked to be.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Protocol, cast

from cli import lines, output
from cli.board import Board, describe
from cli.feed import Feed
from cli.writers import JsonWriter, TextWriter, end_record, gone_sentence
from ipc.messages import Chunk, Gone

#: How long a sentence about a sheet waits for the sheet's last lines, which come by another way.
SETTLE_SECONDS = 0.1
#: How long a job may be queued before a word is said about it.
QUEUED_SECONDS = 2.0


class View(Protocol):
    def chunk(self, chunk: Chunk) -> None: ...

    def gone(self, gone: Gone) -> None:
        """Bytes of a log that should have come now are not there any more."""

    def event(self, event: dict[str, Any]) -> None: ...

    def tick(self, now: float) -> None:
        """Called when the time that `due` gave has come, and never much later than that."""

    def due(self) -> float | None:
        """When to be called again, if nothing comes."""

    def finish(self, end: dict[str, Any]) -> None: ...


def watch(feed: Feed, view: View) -> dict[str, Any]:
    """Show everything; the `logs.end`."""
    end: dict[str, Any] = {}
    while not feed.ended:
        due = view.due()
        found = feed.next(None if due is None else max(due - time.time(), 0))
        if found is not None:
            method, params = found
            if method == "logs.chunk":
                view.chunk(cast("Chunk", params))
            elif method == "logs.gone":
                view.gone(cast("Gone", params))
            elif method == "events.event":
                view.event(params)
            else:
                end = params
        due, now = view.due(), time.time()
        if due is not None and due <= now:
            view.tick(now)
    view.finish(end)
    return end


class JsonView:
    """NDJSON: events and records as they come, the end last."""

    def __init__(self) -> None:
        self._writer = JsonWriter(lines.ALL)

    def chunk(self, chunk: Chunk) -> None:
        output.write(self._writer.feed(chunk))

    def gone(self, gone: Gone) -> None:
        output.write(self._writer.gone(gone))

    def event(self, event: dict[str, Any]) -> None:
        output.document({name: value for name, value in event.items() if name != "subscription"})

    def tick(self, now: float) -> None:
        raise AssertionError("never due")

    def due(self) -> float | None:
        return None

    def finish(self, end: dict[str, Any]) -> None:
        output.document(end_record(end))


class Notice(NamedTuple):
    due: float
    sentence: str
    sheet: int | None
    begins: int
    """The attempt of that sheet that begins with it, or 0."""


class Notices:
    """Sentences about events, each held until the lines that belong before it had time to arrive: lines come another way.

    That an attempt runs, and what was said before that, comes no later than its first line; what became of it, after its lines:
    while those come, it waits.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._held: list[Notice] = []

    def add(self, event: dict[str, Any], now: float) -> None:
        sentence = describe(event, self._board, now)
        self._board.apply(event)
        if sentence:
            begins = event.get("attempt") or 1 if event["type"] == "sheet.running" else 0
            self._held.append(Notice(now + SETTLE_SECONDS, sentence, event.get("sheet"), begins))

    def due(self) -> float | None:
        return self._held[0].due if self._held else None

    def before(self, chunk: Chunk, now: float) -> list[str]:
        """The sentences that belong before this chunk."""
        if not self._held:
            return []
        attempt = (chunk["sheet"], chunk["attempt"])
        begin = next((i for i, held in enumerate(self._held, 1) if (held.sheet, held.begins) == attempt), 0)
        later = now + SETTLE_SECONDS
        self._held[begin:] = [
            held._replace(due=later) if held.sheet == attempt[0] else held for held in self._held[begin:]
        ]
        return self._pop(begin)

    def take(self, now: float) -> list[str]:
        """The sentences whose time has come."""
        return self._pop(next((i for i, held in enumerate(self._held) if held.due > now), len(self._held)))

    def _pop(self, count: int) -> list[str]:
        ready = [held.sentence for held in self._held[:count]]
        del self._held[:count]
        return ready


class QuietView:
    """Nothing, to the end."""

    def chunk(self, chunk: Chunk) -> None:
        pass

    def gone(self, gone: Gone) -> None:
        pass

    def event(self, event: dict[str, Any]) -> None:
        pass

    def tick(self, now: float) -> None:
        raise AssertionError("never due")

    def due(self) -> float | None:
        return None

    def finish(self, end: dict[str, Any]) -> None:
        pass


class PlainView:
    """Lines as they come, and what happens to the sheets in between. The job's id comes first: who reads may need it."""

    def __init__(self, board: Board, writer: TextWriter) -> None:
        self._board = board
        self._writer = writer
        self._notices = Notices(board)
        self._silent_until: float | None = time.time() + QUEUED_SECONDS
        output.say(f"mozart: {board.job} is submitted")

    def chunk(self, chunk: Chunk) -> None:
        self._say(self._notices.before(chunk, time.time()))
        output.write(self._writer.feed(chunk))

    def gone(self, gone: Gone) -> None:
        output.write(self._writer.gone(gone))
        output.say(f"mozart: {gone_sentence(gone)}")

    def event(self, event: dict[str, Any]) -> None:
        self._notices.add(event, time.time())

    def tick(self, now: float) -> None:
        self._say(self._notices.take(now))
        if self._silent_until is not None and self._silent_until <= now:
            self._silent_until = None
            if self._board.state == "queued":
                self._say([f"{self._board.job} is queued; `mozart status {self._board.job}` says why"])

    def _say(self, sentences: list[str]) -> None:
        for sentence in sentences:
            output.write(self._writer.interrupt())
            output.say(f"mozart: {sentence}")

    def due(self) -> float | None:
        return min(filter(None, [self._notices.due(), self._silent_until]), default=None)

    def finish(self, end: dict[str, Any]) -> None:
        output.write(self._writer.finish())
        self._silent_until = None
        self.tick(float("inf"))
