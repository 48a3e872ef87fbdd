"""`mozart priority`: how large a job's share is."""

from __future__ import annotations

from typing import Annotated

from cli import output
from cli.arguments import Argument
from cli.daemon import ask
from cli.options import JobArgument, Json
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart priority hello-12 40\nmozart priority hello-12 low"

_WORDS = {"lowest": -100, "low": -40, "normal": 0, "high": 40, "highest": 100}


def command(
    job: JobArgument,
    priority: Annotated[
        str, Argument("-100 to 100, or lowest, low, normal, high, highest.", metavar="PRIORITY", negative=True)
    ],
    json: Json = False,
) -> int:
    """Change a job's share of the machine.

    Jobs share by weight; twenty more is twice the weight.
    """
    answer = ask("priority", {"job": job, "priority": _number(priority)})
    if json:
        output.document(answer)
    else:
        output.say(f"{answer['job']} has priority {_number(priority)}")
    return 0


def _number(typed: str) -> int:
    try:
        found = _WORDS[typed] if typed in _WORDS else int(typed)
        if not -100 <= found <= 100:
            raise ValueError
        return found
    except ValueError:
        hint = "it is a number from -100 to 100, or one of " + ", ".join(_WORDS)
        raise MozartError("usage", f"cannot use {typed!r} as a priority", hint, EXIT_USAGE) from None
