"""`mozart wait`: return when jobs have ended."""

from __future__ import annotations

import time
from typing import Annotated, Any

from cli import output, text
from cli.arguments import Option
from cli.commands.list import progress
from cli.daemon import ask_at_length
from cli.options import JobArguments, Json
from ipc import shown
from ipc.errors import EXIT_DONE, EXIT_FAILED, EXIT_PAUSED, EXIT_TIMEOUT

EXAMPLE = "mozart wait hello-12 tests-3 --timeout 3600"

EXITS = {"completed": EXIT_DONE, "failed": EXIT_FAILED, "cancelled": EXIT_PAUSED, "paused": EXIT_PAUSED}


def command(
    jobs: JobArguments,
    timeout: Annotated[float | None, Option("--timeout", metavar="S", min=0, help="Wait at most this long.")] = None,
    first: Annotated[bool, Option("--any", help="Return when the first of them has ended.")] = False,
    json: Json = False,
) -> int:
    """Wait until jobs have ended.

    Of several jobs a failure decides the exit code, then a time-out, then one that is cancelled or paused.
    """
    deadline = None if timeout is None else time.monotonic() + timeout

    def question() -> dict[str, Any]:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        return {"jobs": jobs, "any": first, "timeout": left}

    ended = ask_at_length("wait", question)["jobs"]
    if json:
        output.document({"jobs": ended})
    else:
        output.say("\n".join(describe(job, time.time()) for job in ended))
    return exit_code([job["state"] for job in ended], first)


def exit_code(states: list[str], first: bool) -> int:
    """Of several jobs: a failure speaks louder than a pause. With --any only those that have ended."""
    over = [EXITS[state] for state in states if state in EXITS]
    codes = over if first and over else [EXITS.get(state, EXIT_TIMEOUT) for state in states]
    return EXIT_FAILED if EXIT_FAILED in codes else max(codes, default=EXIT_DONE)


def describe(job: dict[str, Any], now: float) -> str:
    took = text.ran(job, now)
    said = [
        f"{job['id']} {text.state(job['state'])}: {progress(job['sheets'])} sheets",
        took,
        shown.cell(job["reason"] or ""),
    ]
    return ", ".join(filter(None, said))
