"""Whose limits a sheet shares: `backend/account/model`; and on what it may run: its backend, then its fallbacks.

The account is told apart by the key or configuration that the score's `backend.env` names, and by the address of a service of
the user's own; without any it is `default`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ipc.score.schema import Backend, Score
from mozartd.coordinator.model import Choice

#: Variables that choose an account, by what they are for.
_ACCOUNT_NAMES = (
    "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CONFIG_DIR", "CODEX_HOME",
    "CODEX_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "XDG_CONFIG_HOME",
)  # fmt: skip


def choices_by_sheet(score: Score, private: str = "") -> dict[int, list[Choice]]:
    """By number for the sheets with a backend of their own; 0 stands for all others."""
    return {n: _choices(score, n, private) for n in (0, *score.sheet.backends)}


def is_private(scope: str) -> bool:
    """Of one job alone."""
    return "#" in scope


def _choices(score: Score, n: int, private: str) -> list[Choice]:
    backends = score.choices_for(n)
    waits = [0.0, *(fallback.max_wait for fallback in backends[0].fallbacks)]
    return [
        (_scope(backend) + private, wait, backend.resume_session == "auto")
        for backend, wait in zip(backends, waits, strict=True)
    ]


def _scope(backend: Backend) -> str:
    account, model = _told_apart_by(backend)
    return f"{backend.type}/{_account(backend.env, account)}/{model or 'default'}"


def _told_apart_by(backend: Backend) -> tuple[list[str], str | None]:
    """What tells an account from another, and the model: APIs have both in places of their own."""
    match backend.type:
        case "anthropic_api":
            name = backend.api_key_env
            return [] if name == "ANTHROPIC_API_KEY" else [name], backend.model
        case "ollama":
            return [backend.ollama.base_url], backend.ollama.model
        case "recursive_light":
            return [backend.recursive_light.endpoint], None
    return [], backend.cli_model


def _account(env: Mapping[str, str], more: list[str]) -> str:
    chosen = [*(f"{name}={env[name]}" for name in _ACCOUNT_NAMES if name in env), *more]
    # A digest, because the value may be a secret and a scope is shown to everybody.
    return hashlib.sha256("\n".join(chosen).encode()).hexdigest()[:8] if chosen else "default"
