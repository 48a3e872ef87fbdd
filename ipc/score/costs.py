"""Whether what an agent costs is known while it runs, so that a limit may stop it. Pure: asked of a score, not of a run."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ipc.score import routing

if TYPE_CHECKING:
    from ipc.score.schema import Score

#: Backends that tell what they cost, in their own words.
TELLING = frozenset({"claude_cli", "opencode_cli"})
#: Models of the shipped price table, cache prices included.
PRICED_MODELS = (
    "claude-opus-*", "claude-opus-4-5*", "claude-sonnet-*", "claude-haiku-*", "gpt-5*", "gpt-5-mini*", "gemini-2.5-pro*",
    "gemini-2.5-flash*",
)  # fmt: skip


def when_reached(score: Score) -> str:
    """`stop` or `finish`: what an agent does that runs when a limit is reached. As written, else what can be kept."""
    costs = score.cost_limits
    if costs is None:
        return "finish"
    if costs.on_reached:
        return costs.on_reached
    return "finish" if any(unknown(score)) else "stop"


def unknown(score: Score) -> Iterator[str]:
    """The backends of which nobody knows the price before they have ended, each as `type` or `type model`."""
    for n in (0, *score.sheet.backends):
        for section, _ in routing.sections(score, n):
            model = _model(section)
            if section["type"] not in TELLING and not any(fnmatchcase(model, known) for known in PRICED_MODELS):
                yield f"{section['type']} {model}".rstrip()


def _model(section: dict[str, Any]) -> str:
    if section["type"] == "anthropic_api":
        return str(section.get("model") or "")
    if section["type"] == "ollama":
        return str(section["ollama"].get("model") or "")
    return str(section.get("cli_model") or "")
