"""`mozart cancel`: stop a job, or some of its sheets."""

from __future__ import annotations

from cli import output
from cli.daemon import ask
from cli.options import JobArgument, Json, Sheets

EXAMPLE = "mozart cancel hello-12"


def command(job: JobArgument, sheet: Sheets = None, json: Json = False) -> int:
    """Cancel a job.

    Stops its agents and everything that they started. With --sheet, cancels only that sheet.
    """
    answer = ask("cancel", {"job": job, **({"sheets": sheet} if sheet else {})})
    if json:
        output.document(answer)
    else:
        output.say(f"cancelled {answer['job']}: {describe_sheets(answer['sheets'])}")
    return 0


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
