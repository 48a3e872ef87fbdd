"""`mozart cancel`: stop jobs, or some sheets of one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from cli import output
from cli.arguments import Option
from cli.options import Json, OptionalJobs, Sheets
from cli.several import ask_found, ask_named, check_choice, check_one
from ipc.line import Line

EXAMPLE = "mozart cancel hello-12\nmozart cancel --state queued"


class Unfinished(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"


def command(
    jobs: OptionalJobs = None,
    every: Annotated[bool, Option("--all", help="Every job that has not ended.")] = False,
    state: Annotated[
        list[Unfinished] | None, Option("--state", metavar="S", help="Every job in this state; may be repeated.")
    ] = None,
    sheet: Sheets = None,
    json: Json = False,
) -> int:
    """Cancel jobs.

    Stops their agents and everything that they started. With --sheet, cancels only that sheet.
    """
    check_choice("cancel", jobs, all=every, state=state)
    check_one(jobs, sheet=sheet)

    def ask(line: Line, job: str) -> Any:
        return line.request("cancel", {"job": job, **({"sheets": sheet} if sheet else {})})

    if jobs:
        return ask_named(jobs, ask, _show, json)
    return ask_found([str(each) for each in state or Unfinished], ask, _show, json)


def _show(answer: dict[str, Any]) -> None:
    if answer.get("already"):
        output.say(f"{answer['job']} is already cancelled")
    else:
        output.say(f"cancelled {answer['job']}: {describe_sheets(answer['sheets'])}")


def describe_sheets(numbers: list[int]) -> str:
    """`sheet 3`, `sheets 3-5, 9`, `no sheet`."""
    if not numbers:
        return "no sheet"
    return f"sheet{'s' if len(numbers) > 1 else ''} {', '.join(_runs(sorted(numbers)))}"


def _runs(numbers: list[int]) -> list[str]:
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][1] == n - 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return [str(a) if a == b else f"{a}-{b}" for a, b in runs]
