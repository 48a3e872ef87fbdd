"""`mozart group`: groups of jobs with a limit of their own."""

from __future__ import annotations

from typing import Annotated

from cli import completions, output
from cli.arguments import Argument, Option
from cli.daemon import ask
from cli.options import Json
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart group set nightly --parallel 4\nmozart run big.yaml --group nightly"


def command(
    words: Annotated[
        list[str] | None,
        Argument(
            "`set NAME` sets a group's limit.",
            metavar="[set NAME]",
            complete=completions.words(set=completions.groups),
        ),
    ] = None,
    parallel: Annotated[
        int | None, Option("--parallel", metavar="N", min=1, help="How many sheets of its jobs may run at once.")
    ] = None,
    json: Json = False,
) -> int:
    """Show the groups, or limit one.

    `set NAME` without --parallel removes the limit.
    """
    if not words:
        answer = ask("group.list", {})
    elif len(words) == 2 and words[0] == "set":
        answer = ask("group.set", {"name": words[1], "parallel": parallel})
    else:
        raise MozartError(
            "usage", f"cannot understand `group {' '.join(words)}`", "mozart group set NAME --parallel N", EXIT_USAGE
        )
    if json:
        output.document(answer)
    else:
        rows = [[group["name"], str(group["running"]), str(group["parallel"])] for group in answer["groups"]]
        output.say(output.table(["GROUP", "RUNNING", "PARALLEL"], rows) if rows else "no group has a limit")
    return 0
