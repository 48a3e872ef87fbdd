"""`mozart pause`: start nothing more of some jobs."""

from __future__ import annotations

from typing import Annotated, Any

from cli import output
from cli.arguments import Option
from cli.options import Json, OptionalJobs
from cli.several import ask_found, ask_named, check_choice
from ipc.line import Line

EXAMPLE = "mozart pause hello-12\nmozart pause hello-12 --now"


def command(
    jobs: OptionalJobs = None,
    every: Annotated[bool, Option("--all", help="Every job that is queued or running.")] = False,
    now: Annotated[bool, Option("--now", help="Stop their agents too; their sheets run again after `resume`.")] = False,
    json: Json = False,
) -> int:
    """Pause jobs.

    No further sheet starts, retries included. Running sheets finish.
    """
    check_choice("pause", jobs, all=every)

    def ask(line: Line, job: str) -> Any:
        return line.request("pause", {"job": job, "now": now})

    return ask_named(jobs, ask, _show, json) if jobs else ask_found(("queued", "running"), ask, _show, json)


def _show(answer: dict[str, Any]) -> None:
    output.say(f"{answer['job']} is already paused" if answer.get("already") else f"paused {answer['job']}")
    output.tell(f"go on with `mozart resume {answer['job']}`")
