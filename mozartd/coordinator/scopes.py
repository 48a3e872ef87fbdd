"""Whose limits a sheet shares: `backend/account/model`.

The account is told apart by the key or configuration that the score's `backend.env` names; without one it is `default`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ipc.score.schema import Score

#: Variables that choose an account, by what they are for.
_ACCOUNT_NAMES = (
    "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CONFIG_DIR", "CODEX_HOME",
    "CODEX_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "XDG_CONFIG_HOME",
)  # fmt: skip


def scope_of(score: Score, n: int) -> str:
    backend: dict[str, Any] = score.backend.model_dump(mode="json")
    override = score.sheet.backends.get(n)
    if override is not None:
        backend.update(override.model_dump(mode="json", exclude_unset=True))
    return f"{backend['type']}/{_account(backend.get('env') or {})}/{backend.get('cli_model') or 'default'}"


def _account(env: dict[str, str]) -> str:
    chosen = [f"{name}={env[name]}" for name in _ACCOUNT_NAMES if name in env]
    # A digest, because the value may be a secret and a scope is shown to everybody.
    return hashlib.sha256("\n".join(chosen).encode()).hexdigest()[:8] if chosen else "default"
