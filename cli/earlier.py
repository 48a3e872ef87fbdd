"""Does the workspace hold what a score's rules look for before anybody has worked? Said when a job is submitted.

Only looks at paths; what it does not get to is not said. Called by `run`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipc.score.load import LoadedScore

#: Paths that are looked at, and named, at most.
LOOKED_AT, NAMED = 2000, 5
_RULES = ("file_exists", "content_contains", "content_regex")


def sentence(loaded: LoadedScore) -> str:
    """What to tell, or ''."""
    found = [path for path in islice(_paths(loaded), LOOKED_AT) if os.path.lexists(path)]
    if not found:
        return ""
    workspace = str(loaded.score.workspace)
    names = [os.path.relpath(path, workspace) for path in dict.fromkeys(found)]
    shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return (
        f"mozart: the workspace {workspace} holds results of an earlier job: {shown}\n"
        "hint: its rules hold before anybody has worked; `--workspace DIR` starts with an empty one"
    )


def _paths(loaded: LoadedScore) -> Iterator[str]:
    """Where each sheet's rules look, once each."""
    from ipc.score.expand import expand  # what only `run` has loaded by now
    from ipc.score.rules import applicable, fill
    from ipc.score.variables import built_in, merge

    score = loaded.score
    rules = [rule.model_dump(mode="json") for rule in score.validations if rule.type in _RULES and rule.path]
    planned = expand(score) if rules else []
    seen: set[str] = set()
    for sheet in planned[:LOOKED_AT]:
        variables = merge(built_in(score, sheet, len(planned)), score.prompt.variables)
        for _, rule in applicable(rules, variables):
            path = os.path.join(str(score.workspace), fill(rule["path"], variables))
            if path not in seen:
                seen.add(path)
                yield path
