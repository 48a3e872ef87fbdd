"""What an agent inherits: the daemon's environment without the traces of other agents, then the submitter's named
variables, then the score's `backend.env`, then MOZART_*.

Pure. `${NAME}` in `backend.env` is the daemon's value (or a systemd credential): secrets live there, never in a score.
Called by `attempt`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ipc.environment import AGENT_MARKS, REFERENCE, Lookup, lookup_in
from ipc.errors import MozartError
from ipc.messages import Assign

__all__ = ["agent_environment", "base_environment", "expand", "lookup_in"]


def base_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What every agent of this worker begins with."""
    return {name: value for name, value in environment.items() if name not in AGENT_MARKS}


def agent_environment(base: Mapping[str, str], assignment: Assign, lookup: Lookup, state: str) -> dict[str, str]:
    """Raises MozartError E302 when `backend.env` refers to a variable that the daemon does not have."""
    named = assignment["backend"].get("env") or {}
    return {
        **base,
        **assignment["environment"],
        **{name: expand(name, value, lookup) for name, value in named.items()},
        "MOZART_STATE": state,
        "MOZART_ATTEMPT_ID": assignment["attempt"],
        "MOZART_JOB_ID": assignment["job"],
        "MOZART_SHEET": str(assignment["sheet"]),
        "MOZART_ATTEMPT": str(assignment["k"]),
        "MOZART_WORKSPACE": assignment["workspace"],
    }


def expand(name: str, value: str, lookup: Lookup) -> str:
    """`value` with every `${NAME}` replaced."""

    def replace(match: re.Match[str]) -> str:
        found = lookup(match[1])
        if found is None:
            sentence = f"cannot set {name} for the agent: the daemon has no variable {match[1]}"
            hint = f"set {match[1]} in the daemon's environment and restart it, or correct backend.env"
            raise MozartError("E302", sentence, hint)
        return found

    return REFERENCE.sub(replace, value)
