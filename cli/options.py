"""Arguments that several verbs share, each defined once, and the completion of JOB from what the daemon knows."""

from __future__ import annotations

from typing import Annotated

import typer


def complete_job(incomplete: str) -> list[tuple[str, str]]:
    """(id, state) of jobs the daemon knows, newest first; nothing when it is not there."""
    from cli.daemon import ask
    from ipc.errors import MozartError

    try:
        jobs = ask("list", {"states": [], "all": True, "limit": 200})["jobs"]
    except MozartError:
        return []
    return [(job["id"], job["state"]) for job in jobs if job["id"].startswith(incomplete)]


JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="A job's id, a unique prefix of one, or a score's name.", autocompletion=complete_job
    ),
]
OptionalJob = Annotated[
    str | None,
    typer.Argument(metavar="[JOB]", help="A job's id, a unique prefix of one, or a score's name.",
                   autocompletion=complete_job),
]  # fmt: skip
JobArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...", help="Ids, unique prefixes of ids, or names of scores.", autocompletion=complete_job
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Sheets = Annotated[
    list[int] | None, typer.Option("--sheet", metavar="N", min=1, help="This sheet only; may be repeated.")
]
