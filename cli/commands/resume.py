"""`mozart resume`: go on with paused jobs."""

from __future__ import annotations

from typing import Annotated, Any

from cli import output
from cli.arguments import Option
from cli.options import Json, OptionalJobs, Workspace
from cli.several import ask_found, ask_named, check_choice, check_one
from cli.whereabouts import newest
from ipc.line import Line

EXAMPLE = "mozart resume hello-12\nmozart resume --workspace ./out"


def command(
    jobs: OptionalJobs = None,
    every: Annotated[bool, Option("--all", help="Every paused job.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> int:
    """Resume a paused job.

    Also tries a backend again that was waiting for a login.
    """
    if workspace is not None:
        check_choice("resume", None, all=every, workspace=workspace)
        check_one(jobs or [""], workspace=workspace)
        jobs = [newest(workspace, jobs[0] if jobs else None)]
    check_choice("resume", jobs, all=every, workspace=None)
    return ask_named(jobs, _ask, _show, json) if jobs else ask_found(("paused",), _ask, _show, json)


def _ask(line: Line, job: str) -> Any:
    return line.request("resume", {"job": job})


def _show(answer: dict[str, Any]) -> None:
    job = answer["job"]
    if answer.get("waits"):
        output.say(f"{job} stays paused: {answer['waits']}")
        output.tell(f"to run it anyway, type `mozart resume {job}` again")
    elif answer.get("already"):
        output.say(f"{job} is not paused: it is already going on")
    else:
        output.say(f"resumed {job}")
        output.tell(f"follow it with `mozart logs -f {job}`")
