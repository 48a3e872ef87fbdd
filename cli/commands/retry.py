"""`mozart retry`: run what failed again."""

from __future__ import annotations

from typing import Annotated, Any

from cli import output
from cli.arguments import Option
from cli.commands.cancel import describe_sheets
from cli.daemon import ask
from cli.options import JobArgument, Json, Sheets
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart retry hello-12\nmozart retry hello-12 --from 3"


def command(
    job: JobArgument,
    sheet: Sheets = None,
    start: Annotated[int | None, Option("--from", metavar="N", min=1, help="This sheet and every later one.")] = None,
    failed: Annotated[
        bool, Option("--failed", help="What failed, was blocked or cancelled: as without a choice.")
    ] = False,
    json: Json = False,
) -> int:
    """Run what failed again.

    A job's failed, blocked and cancelled sheets, or those named. Earlier attempts keep their logs.
    """
    if bool(sheet) + (start is not None) + failed > 1:
        raise MozartError("usage", "cannot use --sheet, --from and --failed together", "use one of them", EXIT_USAGE)
    which: dict[str, Any] = {"sheets": sheet} if sheet else {"from": start} if start is not None else {}
    answer = ask("retry", {"job": job, **which})
    if json:
        output.document(answer)
    else:
        output.say(f"retrying {answer['job']}: {describe_sheets(answer['sheets'])}")
        output.tell(f"follow it with `mozart logs -f {answer['job']}`")
    return 0
