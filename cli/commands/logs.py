"""`mozart logs`: what the agents of a job wrote, from the first byte, live when asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast

from cli import lines, output
from cli.arguments import Option
from cli.daemon import ask, connect
from cli.feed import Feed
from cli.options import JobArgument, Json
from ipc import cri
from ipc.client import Client
from ipc.errors import EXIT_USAGE, MozartError
from ipc.messages import Chunk

if TYPE_CHECKING:
    from backends.base import Renderer

EXAMPLE = "mozart logs -f hello-12\nmozart logs hello-12 --sheet 3 --raw > sheet3.jsonl"

PREFIX_COLOURS = (output.CYAN, output.YELLOW, output.GREEN, output.MAGENTA, output.BLUE, output.RED)


class Stream(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


def command(
    job: JobArgument,
    follow: Annotated[
        bool, Option("--follow", "-f", help="Go on until the job ends; its result is the exit code.")
    ] = False,
    sheet: Annotated[int | None, Option("--sheet", "-s", metavar="N", min=1, help="This sheet only.")] = None,
    attempt: Annotated[
        int | None, Option("--attempt", metavar="K", min=1, help="The sheet's K-th attempt only.")
    ] = None,
    raw: Annotated[
        bool, Option("--raw", help="The agents' bytes exactly: nothing rendered, prefixed or added.")
    ] = False,
    timestamps: Annotated[bool, Option("--timestamps", "-t", help="Each line behind the time it was written.")] = False,
    tail: Annotated[
        int | None, Option("--tail", "-n", metavar="N", min=0, help="Only the last N lines of each log.")
    ] = None,
    since: Annotated[str | None, Option("--since", metavar="T", help="Only what is newer: 10m, 2h, or a time.")] = None,
    stream: Annotated[Stream | None, Option("--stream", help="Only this stream of the agents.")] = None,
    prompt: Annotated[bool, Option("--prompt", help="Show the prompt that was sent instead.")] = False,
    json: Json = False,
) -> int:
    """Show what the agents wrote.

    From the first byte. Several sheets come in one stream, each line behind its sheet's number ([3.2] is the second
    attempt of sheet 3). With -f it may begin before the job has started, goes on across restarts of the daemon, and ends
    by itself with the job.
    """
    if prompt:
        return _show_prompt({"job": job, "sheet": sheet, "attempt": attempt}, json)
    selection = lines.Selection(str(stream) if stream else None, since_time(since, time.time()) if since else b"")
    asked = {"job": job, "sheet": sheet, "attempt": attempt, "follow": follow, "tail": tail}
    asked = {name: value for name, value in asked.items() if value is not None}
    client = connect()
    writer: Writer
    if json:
        writer = JsonWriter(selection)
    else:
        prefixed = sheet is None and not raw and _sheet_count(client, job) > 1
        text = lines.Text(no_renderer if raw else renderer_of, selection, timestamps)
        writer = TextWriter(text, lines.Prefixed(prefix) if prefixed else lines.Plain(exact=raw))
    with Feed(client, {"logs.follow": asked}) as feed:
        end = _pump(feed, writer)
    if json and follow:
        output.document({"type": "end", **{name: end[name] for name in ("job", "state", "reason", "exit_code")}})
    return int(end["exit_code"]) if follow else 0


def _show_prompt(which: dict[str, Any], json: bool) -> int:
    answer = ask("prompt", {name: value for name, value in which.items() if value is not None})
    if json:
        output.document(answer)
    else:
        output.write(answer["text"].encode())
    return 0


def _sheet_count(client: Client, job: str) -> int:
    """Without the sheets themselves: a page behind the last of them."""
    answer = client.request("status", {"job": job, "after": 1 << 31})
    return sum(answer["job"]["sheets"].values())


def _pump(feed: Feed, writer: Writer) -> dict[str, Any]:
    """Every chunk to stdout; the `logs.end`."""
    for method, params in feed:
        if method == "logs.end":
            output.write(writer.finish())
            return params
        output.write(writer.feed(cast("Chunk", params)))
    raise AssertionError("a feed ends with its end")


class TextWriter:
    """Chunks to the bytes that people see."""

    def __init__(self, text: lines.Text, sink: lines.Sink) -> None:
        self._text = text
        self._sink = sink

    def feed(self, chunk: Chunk) -> bytes:
        return b"".join(map(self._sink.put, self._text.feed(chunk)))

    def finish(self) -> bytes:
        return b"".join(map(self._sink.put, self._text.finish())) + self._sink.finish()

    def interrupt(self) -> bytes:
        """What must come before a line that is not the agents'."""
        return self._sink.interrupt()

    def open_lines(self) -> Iterator[tuple[lines.Key, bytes]]:
        return self._sink.open_lines()


class JsonWriter:
    """Chunks to NDJSON."""

    def __init__(self, selection: lines.Selection) -> None:
        self._selection = selection

    def feed(self, chunk: Chunk) -> bytes:
        import orjson  # loaded already: the answer came through it

        return b"".join(
            orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
            for record in lines.json_records(chunk, self._selection)
        )

    def finish(self) -> bytes:
        return b""


Writer = TextWriter | JsonWriter


def prefix(sheet: int, attempt: int) -> bytes:
    """`[3] `, and `[3.2] ` from the second attempt on, in the sheet's colour."""
    label = f"[{sheet}]" if attempt == 1 else f"[{sheet}.{attempt}]"
    return f"{output.paint(label, PREFIX_COLOURS[sheet % len(PREFIX_COLOURS)])} ".encode()


def no_renderer(_backend: str) -> None:
    return None


def renderer_of(backend: str) -> Renderer | None:
    """A fresh renderer for an attempt; None when the backend's output is shown as it is."""
    import backends  # only those who follow an agent's log pay for its adapter

    found = backends.load(backend)
    return found.renderer() if found.renders else None


def since_time(typed: str, now: float) -> bytes:
    """`10m`, `1h30m`, `2d`, or an RFC 3339 time, as the log writes times."""
    try:
        moment = _moment(typed, now)
    except ValueError:
        message = f"cannot understand --since {typed}: it is neither a duration nor a time"
        hint = "write 90s, 10m, 1h30m, 2d, or a time like 2026-11-23T14:05:00"
        raise MozartError("usage", message, hint, EXIT_USAGE) from None
    return cri.timestamp(int(moment * 1_000_000) * 1000)


def _moment(typed: str, now: float) -> float:
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", typed)
    if parts and "".join(number + unit for number, unit in parts) == typed:
        return now - sum(float(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] for number, unit in parts)
    moment = datetime.fromisoformat(typed)
    # A time without a zone is the reader's.
    return moment.timestamp() if moment.tzinfo is None else moment.astimezone(UTC).timestamp()
