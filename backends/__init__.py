"""The adapters to agent CLIs and APIs, by name.

Each is imported when it is first asked for: `mozart status` needs none, a worker one or two. Which of them a score may
use is not decided here (`ipc.score.unavailable`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from backends.base import Backend

#: Names a score may give as `backend.type`; each is a module here with a `BACKEND`.
AVAILABLE = ("claude_cli", "codex_cli", "command", "gemini_cli", "opencode_cli")


def load(name: str) -> Backend:
    if name not in AVAILABLE:
        raise ValueError(f"cannot use the backend {name!r}: known are {', '.join(AVAILABLE)}")
    return cast("Backend", import_module(f"{__name__}.{name}").BACKEND)
