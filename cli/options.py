"""Arguments that several verbs share, each defined once."""

from __future__ import annotations

from typing import Annotated

from cli import completions
from cli.arguments import Argument, Option

_JOB = "A job's id, a unique prefix of one, or a score's name."


JobArgument = Annotated[str, Argument(_JOB, metavar="JOB", complete=completions.jobs)]
OptionalJob = Annotated[str | None, Argument(_JOB, metavar="[JOB]", complete=completions.jobs)]
ScoreArgument = Annotated[
    str, Argument("The score's file; - reads it from stdin.", metavar="SCORE", complete=completions.scores)
]
JobArguments = Annotated[list[str], Argument(_JOB, metavar="JOB...", complete=completions.jobs)]
OptionalJobs = Annotated[list[str] | None, Argument(_JOB, metavar="[JOB...]", complete=completions.jobs)]
Workspace = Annotated[
    str | None,
    Option("--workspace", metavar="DIR", help="The newest job of this workspace; with a name, of that name."),
]
Json = Annotated[bool, Option("--json", help="Print JSON for scripts.")]
Sheets = Annotated[list[int] | None, Option("--sheet", metavar="N", min=1, help="This sheet only; may be repeated.")]
Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask for confirmation.")]
