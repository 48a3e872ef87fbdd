"""`mozart modify`: give a job another score."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated, Any

from cli import completions, output
from cli.arguments import Argument, Option
from cli.commands.cancel import describe_sheets
from cli.commands.run import load, pairs, submission, variables
from cli.confirm import with_yes
from cli.daemon import connect
from cli.options import JobArgument, Json, Yes

EXAMPLE = "mozart modify hello-12 examples/hello.yaml"


def command(
    job: JobArgument,
    score: Annotated[str, Argument(metavar="SCORE", help="The new score's file.", complete=completions.scores)],
    workspace: Annotated[
        str | None, Option("--workspace", metavar="P", help="Use this workspace instead of the score's.")
    ] = None,
    var: Annotated[
        list[str] | None, Option("--var", metavar="K=V", help="Set a template variable; may be repeated.")
    ] = None,
    var_json: Annotated[
        list[str] | None,
        Option("--var-json", metavar="K=JSON", help="Set a template variable to a JSON value; may be repeated."),
    ] = None,
    sets: Annotated[
        list[str] | None, Option("--set", metavar="F=V", help="Override a field of the score; may be repeated.")
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Replace the plan for sheets that have not run yet.

    Completed, cancelled and running sheets stay as they are. Asks before it drops sheets or changes the name or the
    workspace. The job takes the new score's priority and group where they differ from the old score's.
    """
    loaded = load(score, variables(var, var_json), pairs("--set", sets), workspace)
    with connect() as line:
        submitted = submission(loaded, os.environ, line.client.daemon["submit_env"])
        answer = with_yes(partial(line.request, "modify"), {"job": job, **submitted}, yes, json)
    if json:
        output.document(answer)
    else:
        output.say(f"modified {answer['job']}: {describe(answer['sheets'], answer['changed'])}")
    return 0


def describe(sheets: list[int], changed: dict[str, Any]) -> str:
    """`sheets 2-3 to run, priority 40, group night`."""
    said = [f"{describe_sheets(sheets)} to run"]
    if "priority" in changed:
        said.append(f"priority {changed['priority']}")
    if "group" in changed:
        said.append(f"group {changed['group']}" if changed["group"] else "no group")
    return ", ".join(said)
