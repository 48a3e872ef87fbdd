"""`mozart events`: what happened, to one job or to all."""

from __future__ import annotations

from typing import Annotated, Any

from cli import output, text
from cli.arguments import Option
from cli.daemon import connect
from cli.feed import Feed
from cli.options import Json, OptionalJob

EXAMPLE = "mozart events hello-12 -f"


def command(
    job: OptionalJob = None,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on; with a job, until it ends.")] = False,
    since: Annotated[int, Option("--since", metavar="ID", min=0, help="Only events after this one.")] = 0,
    json: Json = False,
) -> int:
    """Show what happened.

    Oldest first: jobs and sheets that change their state, attempts, holds.
    """
    asked = {"since": since, "follow": follow, **({"job": job} if job else {})}
    with Feed(connect(), {"events.follow": asked}) as feed:
        for method, params in feed:
            if method == "events.end":
                return int(params["exit_code"]) if follow and job else 0
            if json:
                output.document({name: value for name, value in params.items() if name != "subscription"})
            else:
                output.say(describe(params))
    return 0


def describe(event: dict[str, Any]) -> str:
    """`17  2026-11-23T02:15:06.123Z  hello-12 sheet 3 attempt 2  sheet.waiting  until 14:05:10: back-off`."""
    who = " ".join(filter(None, [
        event.get("job") or "",
        f"sheet {event['sheet']}" if event.get("sheet") else "",
        f"attempt {event['attempt']}" if event.get("attempt") else "",
    ]))  # fmt: skip
    data = {**event["data"]}
    rules = data.pop("validations", None) or []
    facts = [f"{name} {_short(value)}" for name, value in data.items() if value not in (None, "", 0, [], {})]
    facts += [f"{sum(rule['passed'] for rule in rules)} of {len(rules)} rules met"] if rules else []
    return "  ".join(filter(None, [str(event["id"]), event["time"], who, event["type"], ", ".join(facts)]))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else text.first_line(str(value))
