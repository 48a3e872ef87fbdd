"""`mozart retry`: run again what failed of some jobs."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from cli import output
from cli.arguments import Option
from cli.commands.cancel import describe_sheets
from cli.confirm import with_yes
from cli.options import JobArguments, Json, Sheets, Yes
from cli.several import ask_named, check_one
from ipc.errors import EXIT_USAGE, MozartError
from ipc.line import Line

EXAMPLE = "mozart retry hello-12\nmozart retry hello-12 --sheet 3 --yes"


def command(
    jobs: JobArguments,
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

    Re-runs failed, blocked and cancelled sheets, or the named ones and all that depend on them. Earlier logs are kept.
    """
    if bool(sheet) + (start is not None) + failed > 1:
        raise MozartError("usage", "cannot use --sheet, --from and --failed together", "use one of them", EXIT_USAGE)
    if only and not sheet:
        raise MozartError("usage", "cannot use --only without --sheet", "name a sheet, or leave --only out", EXIT_USAGE)
    which: dict[str, Any] = {"sheets": sheet} if sheet else {"from": start} if start is not None else {}
    if only:
        which["only"] = True
    check_one(jobs, **{"sheet": sheet, "from": start})

    def ask(line: Line, job: str) -> Any:
        return with_yes(partial(line.request, "retry"), {"job": job, **which}, yes, json)

    return ask_named(jobs, ask, _show, json)


def _show(answer: dict[str, Any]) -> None:
    output.say(f"retrying {answer['job']}: {describe_sheets(answer['sheets'])}")
    output.tell(f"follow it with `mozart logs -f {answer['job']}`")
