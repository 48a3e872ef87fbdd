"""The adapters to agent CLIs and APIs, by name.

Each is imported when it is first asked for: `mozart status` needs none, a worker one or two. A name that is no module here
is a profile: one that somebody else has read and passes along, or one of those shipped in `backends/profiles/`. Which of them
a score may use is not decided here (`ipc.score.profiles`, `ipc.score.unavailable`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from backends.base import Backend

#: Names a score may give as `backend.type`; each is a module here with a `BACKEND`.
AVAILABLE = (
    "anthropic_api", "claude_cli", "codex_cli", "command", "gemini_cli", "ollama", "opencode_cli", "recursive_light",
)  # fmt: skip

#: Profiles that come with Mozart, by name.
SHIPPED = os.path.join(os.path.dirname(__file__), "profiles")


def load(name: str, profile: Mapping[str, Any] | None = None) -> Backend:
    """Raises ValueError with a sentence when there is no such backend or its profile is wrong."""
    if name in AVAILABLE:
        return cast("Backend", import_module(f"{__name__}.{name}").BACKEND)
    if profile is not None:
        from backends import profile as profiles

        return profiles.profile(profile, name)
    if name in shipped():
        return _shipped(name)
    raise ValueError(f"cannot use the backend {name!r}: known are {', '.join([*AVAILABLE, *shipped()])}")


def preload() -> None:
    """Read all of them now: later other files may be in their place."""
    for name in (*AVAILABLE, *shipped()):
        load(name)


@cache
def shipped() -> tuple[str, ...]:
    return tuple(sorted(name.removesuffix(".yaml") for name in os.listdir(SHIPPED) if name.endswith(".yaml")))


@cache
def _shipped(name: str) -> Backend:
    import yaml

    from backends import profile as profiles

    with open(os.path.join(SHIPPED, f"{name}.yaml"), encoding="utf-8") as file:
        return profiles.profile(yaml.safe_load(file), name, shipped=True)
