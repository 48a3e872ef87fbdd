"""Arguments that several verbs share, each defined once, and the completion of JOB from what the daemon knows."""

from __future__ import annotations

from typing import Annotated

from cli.arguments import Argument, Option

_JOB = "A job's id, a unique prefix of one, or a score's name."


def complete_job(incomplete: str) -> list[tuple[str, str]]:
    """(id, state) of jobs the daemon knows, newest first; nothing when it is not there."""
    from cli.daemon import ask
    from ipc.errors import MozartError

    try:
        jobs = ask("list", {"states": [], "all": True, "limit": 200})["jobs"]
    except MozartError:
        return []
    return [(job["id"], job["state"]) for job in jobs if job["id"].startswith(incomplete)]


JobArgument = Annotated[str, Argument(_JOB, metavar="JOB", complete=complete_job)]
OptionalJob = Annotated[str | None, Argument(_JOB, metavar="[JOB]", complete=complete_job)]
JobArguments = Annotated[list[str], Argument(_JOB, metavar="JOB...", complete=complete_job)]
Json = Annotated[bool, Option("--json", help="Print JSON for scripts.")]
Sheets = Annotated[list[int] | None, Option("--sheet", metavar="N", min=1, help="This sheet only; may be repeated.")]
Yes = Annotated[bool, Option("--yes", "-y", help="Do it without asking.")]
