"""How each real program is sent to the loopback server, as a user would send it to a proxy: `backend.env` and its own files.

Everything it is given is made here; nothing of this machine's is passed on. The values are literal, the keys invented.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Program:
    name: str
    backend: str
    model: str
    environment: Callable[[str, Path, str], dict[str, str]]
    """(base URL, an empty HOME, an invented key) → `backend.env`. Writes what the program wants to find in HOME."""

    def section(self, url: str, home: Path, key: str) -> dict[str, Any]:
        """The score's `backend`."""
        quiet = {"HOME": str(home), "DO_NOT_TRACK": "1", "NO_COLOR": "1", "TZ": "UTC"}
        return {"type": self.backend, "cli_model": self.model, "env": {**quiet, **self.environment(url, home, key)}}


def claude(url: str, home: Path, key: str) -> dict[str, str]:
    quiet = ("DISABLE_TELEMETRY", "DISABLE_AUTOUPDATER", "DISABLE_ERROR_REPORTING")
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": key,
        "CLAUDE_CONFIG_DIR": str(home / "claude"),
        "CLAUDE_CODE_TMPDIR": str(home),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        **dict.fromkeys(quiet, "1"),
    }


def claude_subscription(url: str, home: Path, key: str) -> dict[str, str]:
    """With a subscription's token, which has limits of its own."""
    environment = claude(url, home, key)
    environment["CLAUDE_CODE_OAUTH_TOKEN"] = environment.pop("ANTHROPIC_API_KEY")
    return environment


def codex(url: str, home: Path, key: str) -> dict[str, str]:
    directory = home / "codex"
    directory.mkdir()
    (directory / "config.toml").write_text(
        'model_provider = "loopback"\n'
        "check_for_update_on_startup = false\n"
        "[analytics]\nenabled = false\n"
        '[model_providers.loopback]\nname = "loopback"\nwire_api = "responses"\nenv_key = "LOOPBACK_KEY"\n'
        f'base_url = "{url}"\n'
    )
    return {"CODEX_HOME": str(directory), "LOOPBACK_KEY": key}


def gemini(url: str, home: Path, key: str) -> dict[str, str]:
    directory = home / ".gemini"
    directory.mkdir()
    settings = {
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        "telemetry": {"enabled": False},
        "security": {"auth": {"selectedType": "gemini-api-key"}},
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    return {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": key}


def opencode(url: str, home: Path, key: str) -> dict[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "loopback",
        "options": {"baseURL": url, "apiKey": key},
        "models": {
            "loopback-1": {"name": "loopback-1", "tool_call": True, "limit": {"context": 200000, "output": 8192}}
        },
    }
    config = {
        "provider": {"loopback": provider},
        "model": "loopback/loopback-1",
        "small_model": "loopback/loopback-1",
        "autoupdate": False,
        "share": "disabled",
        "enabled_providers": ["loopback"],
    }
    switches = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "SHARE", "DEFAULT_PLUGINS")
    return {
        "XDG_CONFIG_HOME": str(home / "config"),
        "OPENCODE_CONFIG_CONTENT": json.dumps(config),
        **{f"OPENCODE_DISABLE_{switch}": "1" for switch in switches},
    }


CLAUDE = Program("claude", "claude_cli", "claude-sonnet-4-5", claude)
SUBSCRIBER = Program("claude", "claude_cli", "claude-sonnet-4-5", claude_subscription)
CODEX = Program("codex", "codex_cli", "gpt-5.5", codex)
GEMINI = Program("gemini", "gemini_cli", "gemini-2.5-flash", gemini)
OPENCODE = Program("opencode", "opencode_cli", "loopback/loopback-1", opencode)
