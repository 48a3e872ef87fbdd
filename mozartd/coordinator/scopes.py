"""Whose limits a sheet shares: `backend/account/model`; and on what it may run: its backend, then its fallbacks.

The account is the one that `backend.account` names; else it is told apart by the key or configuration that the score's
`backend.env` names, by the address of a service of the user's own, and by the command of a `command` backend, because two
commands need not share a login; without any it is `default`. A shell that reads what to do is no command at all: its limits are
its job's alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from dataclasses import replace
from typing import Any

from ipc.score import routing
from ipc.score.schema import Score
from mozartd.coordinator.model import Choice, Job

#: Variables that choose an account, by what they are for.
_ACCOUNT_NAMES = (
    "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CONFIG_DIR", "CODEX_HOME",
    "CODEX_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "XDG_CONFIG_HOME",
)  # fmt: skip


def choices_by_sheet(score: Score, private: str = "", own: str = "") -> dict[int, list[Choice]]:
    """By number for the sheets with a backend of their own; 0 stands for all others. `private`: the suffix of all scopes;
    `own`: that of those which are the job's alone, when it has one already."""
    own = private or own or f"#{uuid.uuid4().hex[:8]}"
    return {n: _choices(score, n, private, own) for n in (0, *score.sheet.backends)}


def is_private(scope: str) -> bool:
    """Of one job alone."""
    return "#" in scope


def private_scopes(job: Job) -> set[str]:
    """Those that nobody will use when this job has ended."""
    scopes = {sheet.scope for sheet in job.sheets.values()}
    scopes.update(choice.scope for choices in job.policy.choices.values() for choice in choices)
    return {scope for scope in scopes if is_private(scope)}


def _choices(score: Score, n: int, private: str, own: str) -> list[Choice]:
    sections = routing.sections(score, n)
    choices = [
        Choice(_scope(each) + (own if _is_a_jobs_own(each) else private), wait, each["resume_session"] == "auto")
        for each, wait in sections
    ]
    first, *others = [section for section, _ in sections]
    if routing.leaves_when_it_fails(first, routing.bridge_of(score)):
        choices[0] = replace(choices[0], on_failure=routing.claude_among(others))
    return choices


def _scope(backend: dict[str, Any]) -> str:
    account, model = _told_apart_by(backend)
    if backend.get("account"):
        return f"{backend['type']}/{backend['account']}/{model or 'default'}"
    return f"{backend['type']}/{_account(backend.get('env') or {}, account)}/{model or 'default'}"


def _told_apart_by(backend: dict[str, Any]) -> tuple[list[str], str | None]:
    """What tells an account from another, and the model: APIs have both in places of their own."""
    match backend["type"]:
        case "anthropic_api":
            name = backend["api_key_env"]
            return [] if name == "ANTHROPIC_API_KEY" else [name], backend["model"]
        case "ollama":
            return [backend["ollama"]["base_url"]], backend["ollama"]["model"]
        case "recursive_light":
            return [backend["recursive_light"]["endpoint"]], None
        case "command" if not _is_a_jobs_own(backend):
            return [json.dumps(backend.get("command"))], backend.get("cli_model")
    return [], backend.get("cli_model")


#: Programs that do what they read.
_INTERPRETERS = re.compile(r"(?:ash|bash|dash|fish|ksh|mksh|sh|zsh|node|perl|php|python[\d.]*|ruby)")


def _is_a_jobs_own(backend: dict[str, Any]) -> bool:
    """A `command` that is a shell or an interpreter, with nothing to run but what the prompt says."""
    command = backend.get("command")
    if backend["type"] != "command" or backend.get("account") or not command:
        return False
    words = command.split() if isinstance(command, str) else command
    operands = [word for word in words[1:] if not word.startswith("-")]
    told = any(re.fullmatch(r"-[A-Za-z]*[cem]", word) for word in words[1:])
    return bool(_INTERPRETERS.fullmatch(os.path.basename(words[0]))) and not operands and not told


def _account(env: dict[str, str], more: list[str]) -> str:
    chosen = [*(f"{name}={env[name]}" for name in _ACCOUNT_NAMES if name in env), *more]
    # A digest, because the value may be a secret and a scope is shown to everybody.
    return hashlib.sha256("\n".join(chosen).encode()).hexdigest()[:8] if chosen else "default"
