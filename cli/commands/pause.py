"""`mozart pause`: start nothing more of a job."""

from __future__ import annotations

from typing import Annotated

from cli import output
from cli.arguments import Option
from cli.daemon import ask
from cli.options import JobArgument, Json

EXAMPLE = "mozart pause hello-12\nmozart pause hello-12 --now"


def command(
    job: JobArgument,
    now: Annotated[
        bool, Option("--now", help="Stop its running agents too; their sheets run again after `resume`.")
    ] = False,
    json: Json = False,
) -> int:
    """Pause a job.

    No further sheet starts, retries included. Running sheets finish.
    """
    answer = ask("pause", {"job": job, "now": now})
    if json:
        output.document(answer)
    else:
        output.say(f"paused {answer['job']}")
        output.tell(f"go on with `mozart resume {answer['job']}`")
    return 0
