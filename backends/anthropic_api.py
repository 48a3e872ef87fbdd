"""Claude by Anthropic's API: an agent of ours (`agents/anthropic_api.py`) asks it."""

from __future__ import annotations

from backends.api import ApiBackend

BACKEND = ApiBackend("anthropic_api")
