"""Parsers with patterns that a score's or a profile's author wrote: searched for where that can be given up.

A line that comes while the agent runs is looked at soon, not at once, and of a flood only the newest ones. What takes too long
is left out from then on, and the verdict says so. Called by `attempt`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from backends.base import Ending, Event, Verdict, WildParser
from ipc.errors import MozartError
from ipc.forkserver import Bounds, ForkServer, GivenUpError
from workers.halt import Halt

#: What looking for all patterns may take: in some lines, in what an agent left.
LOOKING = Bounds(seconds=3.0, memory=256 * 1024 * 1024)
#: Lines looked at together, and characters of each.
LINES, LINE_BYTES = 64, 2000


class Wild:
    def __init__(self, works: ForkServer, parser: WildParser, on_event: Callable[[Event], None]) -> None:
        self.parser = parser
        self._works = works
        self._on_event = on_event
        self._lines: deque[tuple[str, bytes]] = deque(maxlen=LINES)
        self._looking: asyncio.Task[None] | None = None

    def see(self, stream: str, line: bytes) -> None:
        if self.parser.watches:
            self._lines.append((stream, line[:LINE_BYTES]))
            if self._looking is None or self._looking.done():
                self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        while self._lines and self.parser.watches:
            lines = list(self._lines)
            self._lines.clear()
            try:
                events = await self._works.run(LOOKING, _live, self.parser, lines)
            except (GivenUpError, MozartError):
                self.parser.watches = False
                return
            self.parser.note(events)
            for event in events:
                self._on_event(event)

    async def verdict(self, ending: Ending, halt: Halt) -> tuple[Verdict, str]:
        """And what to say of it. After a halt nobody asks for either."""
        note = ""
        try:
            if found := await halt.race(self._works.run(LOOKING, _verdict, self.parser, ending)):
                return found, note
        except GivenUpError as error:
            note = f"looking for its detection_patterns or its profile's messages {error.in_words(LOOKING)}: left out"
        self.parser.tame()
        return self.parser.verdict(ending), note

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()


def _live(parser: WildParser, lines: Sequence[tuple[str, bytes]]) -> Sequence[Event]:
    return parser.live(lines)


def _verdict(parser: WildParser, ending: Ending) -> Verdict:
    return parser.verdict(ending)
