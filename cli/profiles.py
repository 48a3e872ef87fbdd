"""Whether the profiles that a score names are right: told by `run`, `plan` and `validate` before anything runs."""

from __future__ import annotations

from collections.abc import Iterator

import backends
from ipc.score.load import LoadedScore
from ipc.score.problems import ERROR, Problem


def profile_faults(loaded: LoadedScore) -> Iterator[Problem]:
    """What `backends.profile` has against them, each profile once."""
    seen = []
    for path, section in loaded.score.backend_sections():
        if section.profile is None or section.profile in seen:
            continue
        seen.append(section.profile)
        try:
            backends.load(section.type, section.profile)
        except ValueError as error:
            yield loaded.found("E301", ERROR, (*path, "type"), str(error), "examples are in backends/profiles")
