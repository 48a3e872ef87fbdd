"""The newest job of a workspace, for `status` and `resume`: who stands in a directory knows it better than a job's number."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

from cli.daemon import connect
from ipc.errors import MozartError
from ipc.line import Line


@cache
def _real(path: str) -> str:
    return os.path.realpath(path)


def newest(workspace: str, name: str | None) -> str:
    """Its id; `name`: a score's name, or the job's id. Reads no further than it must."""
    wanted = _real(os.path.expanduser(workspace))
    with connect() as line:
        for job in _jobs(line):
            if name in (None, job["name"], job["id"]) and _real(job["workspace"]) == wanted:
                return str(job["id"])
    which = "a job" if name is None else f"a job {name!r}"
    raise MozartError("unknown_job", f"cannot find {which} with the workspace {workspace}", "see `mozart list --all`")


def _jobs(line: Line) -> Iterator[dict[str, Any]]:
    """Newest first, ended ones too; a page when it is needed."""
    before = None
    while True:
        page = line.request("list", {"states": [], "all": True, "limit": None, "before": before})
        yield from page["jobs"]
        before = page["next"]
        if before is None:
            return
