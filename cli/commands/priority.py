"""`mozart priority`: how large a job's share is."""

from __future__ import annotations

from typing import Annotated

from cli import completions, output
from cli.arguments import Argument
from cli.daemon import ask
from cli.options import JobArgument, Json
from ipc.errors import EXIT_USAGE, MozartError
from ipc.priorities import ALLOWED, HIGHEST, LOWEST, WORDS

EXAMPLE = "mozart priority hello-12 40\nmozart priority hello-12 low"


def command(
    job: JobArgument,
    priority: Annotated[
        str, Argument(f"{ALLOWED}.", metavar="PRIORITY", complete=completions.priorities, negative=True)
    ],
    json: Json = False,
) -> int:
    """Change a job's share of the machine.

    Jobs share the machine by weight: 20 more doubles the weight.
    """
    answer = ask("priority", {"job": job, "priority": _number(priority)})
    if json:
        output.document(answer)
    else:
        output.say(f"{answer['job']} has priority {_number(priority)}")
    return 0


def _number(typed: str) -> int:
    try:
        found = WORDS[typed] if typed in WORDS else int(typed)
        if not LOWEST <= found <= HIGHEST:
            raise ValueError
        return found
    except ValueError:
        raise MozartError("usage", f"cannot use {typed!r} as a priority", f"use {ALLOWED}", EXIT_USAGE) from None
