"""`mozart reorder`: which of the jobs that have not begun goes first."""

from __future__ import annotations

from typing import Annotated

from cli import completions, output
from cli.arguments import Option
from cli.daemon import ask
from cli.options import JobArgument, Json
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart reorder hello-12 --first\nmozart reorder hello-12 --before hello-9"


def command(
    job: JobArgument,
    first: Annotated[bool, Option("--first", help="Before all others.")] = False,
    before: Annotated[
        str | None, Option("--before", metavar="OTHER", help="Right before this job.", complete=completions.jobs)
    ] = None,
    behind: Annotated[
        str | None, Option("--behind", metavar="OTHER", help="Right after this job.", complete=completions.jobs)
    ] = None,
    json: Json = False,
) -> int:
    """Change the order of the jobs that have not begun.

    The order counts more than priorities. For jobs that have begun, see `mozart priority`.
    """
    if sum((first, before is not None, behind is not None)) != 1:
        hint = f"mozart reorder {job} --first, or --before OTHER, or --behind OTHER"
        raise MozartError(
            "usage", f"cannot reorder {job}: choose a position: --first, --before or --behind", hint, EXIT_USAGE
        )
    neighbour = {"before": before} if before is not None else {"behind": behind} if behind is not None else {}
    answer = ask("reorder", {"job": job, **neighbour})
    if json:
        output.document(answer)
    else:
        output.say(describe(answer["job"], answer["queue"]))
    return 0


def describe(job: str, queue: list[str]) -> str:
    """`hello-12 is now number 2 of 3 in the queue: hello-9, hello-12, hello-10`."""
    shown = f": {', '.join(queue[:8])}{', …' if len(queue) > 8 else ''}" if len(queue) > 1 else ""
    place = f"number {queue.index(job) + 1} of {len(queue)}" if queue[0] != job else "first"
    return f"{job} is now {place} in the queue{shown}"
