"""`mozart events`: what happened, to one job or to all."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

from cli import output, text
from cli.arguments import Option
from cli.daemon import connect
from cli.durations import is_length, seconds_of
from cli.feed import Feed
from cli.options import Json, OptionalJob
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart events --since 2h\nmozart events hello-12 -f"
#: Events of all jobs that are shown when nobody says how many.
NEWEST = 100


def command(
    job: OptionalJob = None,
    follow: Annotated[bool, Option("--follow", "-f", help="Keep following; with a job, until it ends.")] = False,
    since: Annotated[
        str | None,
        Option("--since", metavar="T", help="Only events after this: 10m, 2h, a time, or an event's number."),
    ] = None,
    tail: Annotated[int | None, Option("--tail", "-n", metavar="N", min=0, help="Only the newest N events.")] = None,
    json: Json = False,
) -> int:
    """Show what happened.

    Of one job from its beginning; of all jobs the newest first, 100 of them unless --since or --tail asks for others. With
    -f in the order in which it happens.
    """
    if tail is None and job is None and since is None:
        tail = NEWEST
    asked = {"follow": follow, **_since(since, time.time()), **({"job": job} if job else {})}
    if tail is not None:
        asked["tail"] = tail
    shown: list[dict[str, Any]] | None = [] if job is None and not follow else None
    with Feed(connect(), {"events.follow": asked}) as feed:
        for method, params in feed:
            if method == "events.end":
                for event in reversed(shown or []):
                    _show(event, json)
                if feed.left_out and shown and not json:
                    output.tell(f"for older events: mozart events --tail {10 * len(shown)}, or --since 2h")
                return int(params["exit_code"]) if follow and job else 0
            if shown is None:
                _show(params, json)
            else:
                shown.append(params)
    return 0


def _show(event: dict[str, Any], json: bool) -> None:
    if json:
        output.document({name: value for name, value in event.items() if name != "subscription"})
    else:
        output.say(describe(event))


def _since(typed: str | None, now: float) -> dict[str, float]:
    """What the daemon is asked for: after which event, or from when on."""
    if typed is None:
        return {"since": 0}
    if typed.isascii() and typed.isdecimal() and len(typed) < 19:
        return {"since": int(typed)}
    if is_length(typed):
        return {"at": max(0.0, now - seconds_of("--since", typed))}
    try:
        # A time without a zone is the reader's.
        return {"at": max(0.0, datetime.fromisoformat(typed).timestamp())}
    except (ValueError, OverflowError):
        message = f"cannot understand --since {typed}: not a valid time, duration or event number"
        hint = "write 10m, 2h, 2026-11-23T14:05:00, or the number that stands before an event"
        raise MozartError("usage", message, hint, EXIT_USAGE) from None


def describe(event: dict[str, Any]) -> str:
    """`17  2026-11-23T02:15:06.123Z  hello-12 sheet 3 attempt 2  sheet.waiting  until 14:05:10: back-off`."""
    who = " ".join(filter(None, [
        event.get("job") or "",
        f"sheet {event['sheet']}" if event.get("sheet") else "",
        f"attempt {event['attempt']}" if event.get("attempt") else "",
    ]))  # fmt: skip
    data = {**event["data"]}
    rules, tokens = data.pop("validations", None) or [], data.pop("tokens", None) or {}
    facts = [f"{name} {_short(value)}" for name, value in data.items() if value not in (None, "", 0, [], {})]
    facts += [f"{sum(rule['passed'] for rule in rules)} of {len(rules)} rules met"] if rules else []
    facts += [f"tokens {sum(tokens.values())}"] if any(tokens.values()) else []
    return "  ".join(filter(None, [str(event["id"]), event["time"], who, event["type"], ", ".join(facts)]))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else text.first_line(str(value))
