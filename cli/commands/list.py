"""`mozart list`: the jobs, newest first."""

from __future__ import annotations

import time
from typing import Annotated, Any

from cli import output, text
from cli.arguments import Option
from cli.daemon import connect
from cli.options import Json
from ipc import states

EXAMPLE = "mozart list --state running --state failed"

#: Rows of a table, unless told otherwise.
SCREENFUL = 50

HEADER = ("JOB", "STATE", "SHEETS", "SUBMITTED", "TIME", "COST", "WHY")


def command(
    state: Annotated[
        list[states.Job] | None, Option("--state", metavar="S", help="Jobs in this state; may be repeated.")
    ] = None,
    every: Annotated[bool, Option("--all", help="Include finished jobs.")] = False,
    limit: Annotated[
        int | None, Option("--limit", metavar="N", min=1, help="Show at most N jobs (default 50; all with --json).")
    ] = None,
    json: Json = False,
) -> int:
    """List the jobs.

    Unfinished jobs only, unless asked otherwise; newest first.
    """
    jobs, total = fetch([str(s) for s in state or ()], every, limit or (None if json else SCREENFUL))
    if json:
        output.document({"jobs": jobs, "total": total})
    elif jobs:
        output.say(jobs_table(jobs, time.time()))
        if total > len(jobs):
            output.tell(f"and {total - len(jobs):,} more: see --limit and --state")
    else:
        output.say(
            "no jobs" if state or every else "no unfinished jobs; `mozart list --all` shows the finished ones too"
        )
    return 0


def fetch(states: list[str], every: bool, limit: int | None) -> tuple[list[dict[str, Any]], int]:
    """The jobs, and how many there are. Many come in pages."""
    jobs: list[dict[str, Any]] = []
    before = None
    with connect() as line:
        while True:
            left = None if limit is None else limit - len(jobs)
            asked = {"states": states, "all": every, "limit": left, "before": before}
            page = line.request("list", asked)
            jobs += page["jobs"]
            before = page["next"]
            if before is None or len(jobs) == limit:
                return jobs, page["total"]


def jobs_table(jobs: list[dict[str, Any]], now: float) -> str:
    return output.table(HEADER, [_row(job, now) for job in jobs])


def _row(job: dict[str, Any], now: float) -> list[str]:
    return [
        job["id"],
        text.state(job["state"]),
        progress(job["sheets"]),
        text.age(job["submitted_at"], now),
        text.ran(job, now),
        text.money(job["cost_usd"]),
        "; ".join(filter(None, [text.first_line(job["reason"] or "", 60), starts(job, now), unsaved(job)])),
    ]


def starts(job: dict[str, Any], now: float) -> str:
    """Of a job that was submitted with --at."""
    # A daemon of an earlier version does not tell.
    return text.until(job.get("starts_at"), now).replace("until", "starts at", 1)


def unsaved(job: dict[str, Any]) -> str:
    """Of a daemon that cannot write: what it shows is what is on disk."""
    return "a change is not saved" if job.get("unsaved") else ""


def progress(sheets: dict[str, int]) -> str:
    """`3/12`: sheets that need nothing more, of all."""
    done = sum(sheets.get(name, 0) for name in states.SHEET_SATISFIED)
    return f"{done}/{sum(sheets.values())}"
