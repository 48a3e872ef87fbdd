"""`mozart hold`: start nothing on a backend for a while."""

from __future__ import annotations

from typing import Annotated

from cli import completions, output
from cli.arguments import Argument, Option
from cli.commands.limits import describe
from cli.daemon import ask
from cli.durations import seconds_of
from cli.options import Json

EXAMPLE = "mozart hold claude_cli --for 2h"


def command(
    scope: Annotated[
        str,
        Argument("backend/account/model, or only its beginning.", metavar="SCOPE", complete=completions.scopes),
    ],
    length: Annotated[
        str | None, Option("--for", metavar="D", help="How long: 90, 30m, 2h; without it, until `mozart limits clear`.")
    ] = None,
    reason: Annotated[
        str, Option("--reason", metavar="TEXT", help="The reason to show to whoever waits.")
    ] = "held by hand",
    json: Json = False,
) -> int:
    """Start nothing on a backend for a while.

    Running sheets finish; other backends are not affected.
    """
    seconds = None if length is None else seconds_of("--for", length)
    answer = ask("hold", {"scope": scope, "seconds": seconds, "reason": reason})
    if json:
        output.document(answer)
    else:
        for warning in answer.get("warnings", ()):
            output.tell(f"mozart: {warning}")
        output.say(describe(answer["holds"]))
    return 0
