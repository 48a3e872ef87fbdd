"""`mozart resume`: go on with a paused job."""

from __future__ import annotations

from cli import output
from cli.daemon import ask
from cli.options import JobArgument, Json

EXAMPLE = "mozart resume hello-12"


def command(job: JobArgument, json: Json = False) -> int:
    """Resume a paused job.

    Also tries a backend again that was waiting for a login.
    """
    answer = ask("resume", {"job": job})
    if json:
        output.document(answer)
    elif answer.get("waits"):
        output.say(f"{answer['job']} stays paused: {answer['waits']}")
        output.tell(f"to run it anyway, type `mozart resume {answer['job']}` again")
    else:
        output.say(f"resumed {answer['job']}")
        output.tell(f"follow it with `mozart logs -f {answer['job']}`")
    return 0
