"""The panel at the bottom of the terminal while `mozart run` is attached: what runs, what waits, how far it is.

Lines scroll above it; the panel shows the counts, and for each sheet at work its time and the line that it is writing
just now. Drawn when something has changed, at most every FRAME_SECONDS, and once a second for the clocks. Only a
terminal gets it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cli import text
from cli.attached import Notices
from cli.board import Board
from cli.writers import TextWriter, gone_sentence
from ipc import shown
from ipc.messages import Chunk, Gone

#: Between two drawings at least; a flood of lines is drawn in blocks.
FRAME_SECONDS = 0.04
#: Bytes of lines kept for one drawing, at most.
BLOCK = 256 * 1024
#: Sheets the panel names, at most.
ROWS = 8

STYLES = {"completed": "green", "failed": "red", "blocked": "red", "running": "cyan", "waiting": "yellow",
          "awaiting": "yellow", "paused": "yellow", "cancelled": "magenta"}  # fmt: skip


class _Block:
    """Lines that rich is to print as they are."""

    def __init__(self, lines: str) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._lines)


class LiveView:
    """A context: the panel is there while it lasts, and the cursor is back when it ends, whatever happened."""

    def __init__(self, board: Board, writer: TextWriter) -> None:
        self._board = board
        self._writer = writer
        self._notices = Notices(board)
        self._console = Console(highlight=False, file=sys.__stdout__)
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False,
                          redirect_stderr=False)  # fmt: skip
        self._lines = bytearray()
        self._next_frame = time.time()
        self._drawn = 0.0

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def chunk(self, chunk: Chunk) -> None:
        self._say(self._notices.before(chunk, time.time()))
        self._lines += self._writer.feed(chunk)
        if len(self._lines) > BLOCK:
            self.tick(time.time())
        else:
            self._want_frame()

    def gone(self, gone: Gone) -> None:
        self._lines += self._writer.gone(gone)
        self._say([gone_sentence(gone)])
        self._want_frame()

    def event(self, event: dict[str, Any]) -> None:
        self._notices.add(event, time.time())
        self._want_frame()

    def due(self) -> float | None:
        return self._next_frame

    def tick(self, now: float) -> None:
        self._say(self._notices.take(now))
        # What is printed next goes above the panel as it was last refreshed.
        self._live.update(self._panel(now), refresh=True)
        if self._lines:
            block = self._lines.decode(errors="replace")
            self._lines.clear()
            self._console.print(_Block(block), end="", crop=False, soft_wrap=True)
        self._next_frame = min(now + 1.0, self._notices.due() or now + 1.0)
        self._drawn = now

    def finish(self, end: dict[str, Any]) -> None:
        self._lines += self._writer.finish()
        self._say(self._notices.take(float("inf")))
        self.tick(time.time())

    def _say(self, sentences: list[str]) -> None:
        for sentence in sentences:
            self._lines += f"\x1b[2m── {shown.cell(sentence)}\x1b[0m\n".encode(errors="replace")

    def _want_frame(self) -> None:
        """Soon, but not more often than FRAME_SECONDS."""
        self._next_frame = min(self._next_frame, max(time.time(), self._drawn + FRAME_SECONDS))

    # -- the panel

    def _panel(self, now: float) -> Constrain:
        rows = Table.grid(padding=(0, 1))
        for row in self._rows(now):
            rows.add_row(*row)
        # Not to the edge: the terminal's echo of ^C after a full line would scroll the panel by one.
        return Constrain(Group(self._header(now), rows), self._console.width - 4)

    def _header(self, now: float) -> Table:
        board = self._board
        header = Table.grid(padding=(0, 1))
        width = 24 if self._console.width >= 80 else 8
        took = text.duration(board.ran(now)) if board.started else ""
        first = [Text(board.job, "bold"), Text(f"{board.done()}/{board.total}"), Text(took, "bold")]
        counts = Text(", ").join(Text(f"{n} {name}", STYLES.get(name, "dim")) for name, n in board.counts().items())
        bar = ProgressBar(max(board.total, 1), board.done(), width, complete_style="green", finished_style="green")
        for cell in first:
            header.add_column(no_wrap=True, min_width=cell.cell_len)
        header.add_column(min_width=width)
        header.add_column(no_wrap=True, overflow="ellipsis")
        header.add_row(*first, bar, counts + Text(f"  {text.money(board.cost_usd or None)}"))
        return header

    def _rows(self, now: float) -> Iterable[tuple[Text, ...]]:
        board = self._board
        tails = {key.sheet: held for key, held in self._writer.open_lines()}
        room = max(1, min(ROWS, self._console.height // 3))
        for sheet, running in list(board.running.items())[:room]:
            again = f" attempt {running.attempt}" if running.attempt > 1 else ""
            tail = _tail(tails.get(sheet, b""), self._console.width - 24)
            took = text.duration(board.worked.get(sheet, 0.0) + now - running.since)
            yield Text(f"▸ {sheet}{again}", "cyan"), Text(took), Text(tail, "dim", no_wrap=True)
        for sheet, waiting in list(board.waiting.items())[: room - len(board.running)]:
            why = "; ".join(filter(None, [text.until(waiting.until, now), waiting.reason]))
            yield Text(f"◦ {sheet}", "yellow"), Text(waiting.state), Text(shown.cell(why), no_wrap=True)
        more = len(board.running) + len(board.waiting) - room
        if more > 0:
            yield Text(f"  and {more} more", "dim"), Text(), Text()


def _tail(held: bytes, width: int) -> str:
    """The end of the line that is being written."""
    return shown.cell(held[-4 * max(width, 1) :].decode(errors="replace"))[-max(width, 1) :]
