"""Which features a score uses that are not built yet. `run` refuses such a score with their names; it is never half-run.

Only what the score sets so that it would do something counts: a section switched off, or left at its defaults, does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ipc.score.optional import Conductor, Logging
from ipc.score.schema import Score

_SWITCHED = (
    "feedback",
    "learning",
    "grounding",
    "checkpoints",
    "concert",
    "ai_review",
)
_LISTS = ("notifications", "on_success", "on_failure_hooks")


def unavailable(score: Score) -> list[str]:
    """Their names as the score writes them; empty when all can run."""
    return [*_sections(score), *_settings(score)]


def _sections(score: Score) -> Iterator[str]:
    for name in _SWITCHED:
        section: Any = getattr(score, name)
        if section is not None and section.enabled:
            yield name
    yield from (name for name in _LISTS if getattr(score, name))
    if score.isolation is not None and score.isolation.enabled and score.isolation.mode != "none":
        yield "isolation"


def _settings(score: Score) -> Iterator[str]:
    if score.conductor is not None and score.conductor != Conductor():
        yield "conductor"
    if score.logging is not None and score.logging != Logging():
        yield "logging"
