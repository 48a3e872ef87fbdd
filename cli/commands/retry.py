"""`mozart retry`: run what failed again."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from cli import output
from cli.arguments import Option
from cli.commands.cancel import describe_sheets
from cli.confirm import with_yes
from cli.daemon import ask
from cli.options import JobArgument, Json, Sheets, Yes
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart retry hello-12\nmozart retry hello-12 --sheet 3 --yes"


def command(
    job: JobArgument,
    sheet: Sheets = None,
    start: Annotated[
        int | None, Option("--from", metavar="N", min=1, help="This sheet and all that depend on it.")
    ] = None,
    failed: Annotated[bool, Option("--failed", help="All failed, blocked and cancelled sheets (the default).")] = False,
    only: Annotated[bool, Option("--only", help="With --sheet: do not re-run the sheets that depend on it.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Re-run failed sheets.

    Re-runs a job's failed, blocked and cancelled sheets, or the named ones and all that depend on them. Earlier logs are kept.
    """
    if bool(sheet) + (start is not None) + failed > 1:
        raise MozartError("usage", "cannot use --sheet, --from and --failed together", "use one of them", EXIT_USAGE)
    if only and not sheet:
        raise MozartError("usage", "cannot use --only without --sheet", "name a sheet, or leave --only out", EXIT_USAGE)
    which: dict[str, Any] = {"sheets": sheet} if sheet else {"from": start} if start is not None else {}
    if only:
        which["only"] = True
    answer = with_yes(partial(ask, "retry"), {"job": job, **which}, yes, json)
    if json:
        output.document(answer)
    else:
        output.say(f"retrying {answer['job']}: {describe_sheets(answer['sheets'])}")
        output.tell(f"follow it with `mozart logs -f {answer['job']}`")
    return 0
