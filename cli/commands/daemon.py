"""`mozart daemon`: what the daemon itself does; today, drain."""

from __future__ import annotations

from typing import Annotated

from cli import completions, output
from cli.arguments import Argument
from cli.daemon import ask
from cli.options import Json
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart daemon drain"


def command(
    word: Annotated[
        str,
        Argument(
            "`drain`: start nothing new; stop when nothing is running.",
            metavar="drain",
            complete=completions.words(drain=None),
        ),
    ],
    json: Json = False,
) -> int:
    """Let the daemon finish running attempts, then stop.

    Unfinished jobs continue at the next start.
    """
    if word != "drain":
        raise MozartError(
            "usage", f"cannot understand `daemon {word}`", "mozart daemon drain; see also mozartd", EXIT_USAGE
        )
    answer = ask("daemon.drain", {})
    if json:
        output.document(answer)
    else:
        running = answer["running"]
        output.say(
            f"draining: {running} {'attempt runs' if running == 1 else 'attempts run'}" if running else "stopping"
        )
    return 0
