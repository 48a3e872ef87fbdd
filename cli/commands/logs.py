"""`mozart logs`: what the agents of a job wrote, from the first byte, live when asked."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from cli import lines, output
from cli.arguments import Option
from cli.daemon import ask
from cli.durations import is_length, seconds_of
from cli.options import JobArguments, Json
from cli.tails import How, show
from ipc import cri, shown
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart logs -f hello-12 tests-3\nmozart logs hello-12 --sheet 3 --raw > sheet3.jsonl"


class Stream(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


def command(
    jobs: JobArguments,
    follow: Annotated[
        bool, Option("--follow", "-f", help="Follow until the job ends; the exit code is the job's.")
    ] = False,
    sheet: Annotated[int | None, Option("--sheet", "-s", metavar="N", min=1, help="This sheet only.")] = None,
    attempt: Annotated[int | None, Option("--attempt", metavar="K", min=1, help="The sheet's attempt K only.")] = None,
    raw: Annotated[
        bool, Option("--raw", help="Print the agents' bytes exactly: nothing rendered, prefixed or added.")
    ] = False,
    timestamps: Annotated[bool, Option("--timestamps", "-t", help="Put the time of writing before each line.")] = False,
    tail: Annotated[
        int | None, Option("--tail", "-n", metavar="N", min=0, help="Only the last N lines of each log.")
    ] = None,
    since: Annotated[
        str | None, Option("--since", metavar="T", help="Only lines after this: 10m, 2h, or a time.")
    ] = None,
    stream: Annotated[Stream | None, Option("--stream", help="Only this stream of the agents.")] = None,
    prompt: Annotated[bool, Option("--prompt", help="Show the prompt that was sent, instead of the log.")] = False,
    json: Json = False,
) -> int:
    """Show what the agents wrote.

    From the first byte. Several sheets come in one stream, each line behind its sheet's number ([3.2] is the second
    attempt of sheet 3); several jobs, too, each line behind job and sheet ([hello-12:3]). With -f it may begin before the
    job has started, goes on across restarts of the daemon, and ends by itself with the last job.
    """
    if prompt:
        _refuse_with_prompt(follow=follow, raw=raw, timestamps=timestamps, tail=tail, since=since, stream=stream)
        if len(jobs) > 1:
            raise MozartError("usage", "cannot use --prompt with several jobs", "name one job", EXIT_USAGE)
        return _show_prompt({"job": jobs[0], "sheet": sheet, "attempt": attempt}, json)
    _refuse_together({"--raw": raw, "--timestamps": timestamps}, "--raw adds nothing")
    _refuse_together({"--raw": raw, "--json": json}, "--json describes each line, --raw prints only the bytes")
    _refuse_together({"--timestamps": timestamps, "--json": json}, "--json has every line's time")
    several = {"--raw": raw, "-f": follow, "several jobs": len(jobs) > 1}
    _refuse_together(several, "leave out --raw, which adds no job's name, or follow one job")
    selection = lines.Selection(str(stream) if stream else None, since_time(since, time.time()) if since else b"")
    asked: dict[str, Any] = {"sheet": sheet, "attempt": attempt, "follow": follow, "tail": tail}
    if tail is not None and stream:
        asked["stream"] = str(stream)
    how = How(selection, raw, timestamps, json, {name: value for name, value in asked.items() if value is not None})
    return show(list(dict.fromkeys(jobs)), how)


def _refuse_together(given: dict[str, bool], hint: str) -> None:
    """Two that exclude each other."""
    if all(given.values()):
        raise MozartError("usage", f"cannot use {' together with '.join(given)}", hint, EXIT_USAGE)


def _refuse_with_prompt(**others: Any) -> None:
    """The prompt is one text that is there: nothing about lines makes sense for it."""
    given = next((name for name, value in others.items() if value is not None and value is not False), None)
    if given is not None:
        raise MozartError("usage", f"cannot use --prompt together with --{given}", "choose one", EXIT_USAGE)


def _show_prompt(which: dict[str, Any], json: bool) -> int:
    answer = ask("prompt", {name: value for name, value in which.items() if value is not None})
    if json:
        output.document(answer)
    else:
        prompt: str = answer["text"]
        output.write(shown.sentence(prompt, output.wants_colour()).encode(errors="replace"))
    return 0


def since_time(typed: str, now: float) -> bytes:
    """`90`, `10m`, `1h30m`, `2d`, or an RFC 3339 time, as the log writes times."""
    try:
        return cri.timestamp(max(_moment(typed, now), 0))
    except (ValueError, OverflowError):
        message = f"cannot understand --since {typed}: not a valid time or duration"
        hint = "write 90, 10m, 1h30m, 2d, or a time like 2026-11-23T14:05:00"
        raise MozartError("usage", message, hint, EXIT_USAGE) from None


_FRACTION = re.compile(r"(?<=\d)[.,](\d{1,9})\d*(?=\D|$)")


def _moment(typed: str, now: float) -> int:
    """Nanoseconds since the epoch, as exact as what was typed: times are copied from `-t`, which has them all."""
    if is_length(typed) and not _is_date(typed):
        return int((now - seconds_of("--since", typed)) * 1_000_000) * 1000
    fraction = _FRACTION.search(typed)
    moment = datetime.fromisoformat(_FRACTION.sub("", typed, count=1))
    # A time without a zone is the reader's.
    seconds = int(moment.timestamp() if moment.tzinfo is None else moment.astimezone(UTC).timestamp())
    return seconds * 1_000_000_000 + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def _is_date(typed: str) -> bool:
    """`20261129` is a day: nobody asks for 234 days in seconds."""
    return re.fullmatch(r"(?:19[7-9]|20\d|21\d)\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", typed) is not None
