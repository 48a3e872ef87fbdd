"""`mozart logs`: what the agents of a job wrote, from the first byte, live when asked."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, cast

from cli import lines, output
from cli.arguments import Option
from cli.daemon import ask, connect
from cli.durations import is_length, seconds_of
from cli.feed import Feed
from cli.options import JobArgument, Json
from cli.writers import (
    JsonWriter,
    TextWriter,
    Writer,
    count_sheets,
    end_record,
    gone_sentence,
    no_renderer,
    renderer_of,
    sink_for,
)
from ipc import cri
from ipc.errors import EXIT_USAGE, MozartError
from ipc.messages import Chunk, Gone

EXAMPLE = "mozart logs -f hello-12\nmozart logs hello-12 --sheet 3 --raw > sheet3.jsonl"


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
        _refuse_with_prompt(follow=follow, raw=raw, timestamps=timestamps, tail=tail, since=since, stream=stream)
        return _show_prompt({"job": job, "sheet": sheet, "attempt": attempt}, json)
    if raw and timestamps:
        raise MozartError("usage", "cannot use --raw together with --timestamps", "--raw adds nothing", EXIT_USAGE)
    selection = lines.Selection(str(stream) if stream else None, since_time(since, time.time()) if since else b"")
    line = connect()
    writer: Writer
    if json:
        writer = JsonWriter(selection)
    elif raw:
        writer = TextWriter(lines.Text(no_renderer, selection, timestamps), lines.Plain(exact=True))
    else:
        job, sheets = (job, 1) if sheet is not None else count_sheets(line, job)
        writer = TextWriter(lines.Text(renderer_of, selection, timestamps), sink_for(sheets))
    if follow:
        # Hours from now another version may be installed, or none.
        import backends

        backends.preload()
    asked = {"job": job, "sheet": sheet, "attempt": attempt, "follow": follow, "tail": tail}
    with Feed(line, {"logs.follow": {name: value for name, value in asked.items() if value is not None}}) as feed:
        end = _pump(feed, writer)
    if json and follow:
        output.document(end_record(end))
    return int(end["exit_code"]) if follow else 0


def _refuse_with_prompt(**others: Any) -> None:
    """The prompt is one text that is there: nothing about lines makes sense for it."""
    given = next((name for name, value in others.items() if value not in (None, False)), None)
    if given is not None:
        raise MozartError("usage", f"cannot use --prompt together with --{given}", "choose one", EXIT_USAGE)


def _show_prompt(which: dict[str, Any], json: bool) -> int:
    answer = ask("prompt", {name: value for name, value in which.items() if value is not None})
    if json:
        output.document(answer)
    else:
        output.write(answer["text"].encode())
    return 0


def _pump(feed: Feed, writer: Writer) -> dict[str, Any]:
    """Every chunk to stdout; the `logs.end`."""
    for method, params in feed:
        if method == "logs.end":
            output.write(writer.finish())
            return params
        if method == "logs.gone":
            output.write(writer.gone(cast("Gone", params)))
            output.tell(f"mozart: {gone_sentence(cast('Gone', params))}")
            continue
        output.write(writer.feed(cast("Chunk", params)))
    raise AssertionError("a feed ends with its end")


def since_time(typed: str, now: float) -> bytes:
    """`90`, `10m`, `1h30m`, `2d`, or an RFC 3339 time, as the log writes times."""
    try:
        moment = _moment(typed, now)
    except ValueError:
        message = f"cannot understand --since {typed}: it is neither a duration nor a time"
        hint = "write 90, 10m, 1h30m, 2d, or a time like 2026-11-23T14:05:00"
        raise MozartError("usage", message, hint, EXIT_USAGE) from None
    return cri.timestamp(int(moment * 1_000_000) * 1000)


def _moment(typed: str, now: float) -> float:
    if is_length(typed):
        return max(now - seconds_of("--since", typed), 0.0)
    moment = datetime.fromisoformat(typed)
    # A time without a zone is the reader's.
    return max(moment.timestamp() if moment.tzinfo is None else moment.astimezone(UTC).timestamp(), 0.0)
