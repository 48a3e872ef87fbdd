"""Which features are named as not built yet, and when a section does nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from ipc.score.load import LoadedScore
from ipc.score.schema import BACKENDS, SHIPPED_PROFILES, Score
from ipc.score.unavailable import unavailable

Load = Callable[..., LoadedScore]
SHEET = {"size": 1, "total_items": 3}

USED: list[tuple[str, dict[str, Any]]] = [
    ("feedback", {"feedback": {"enabled": True}}),
    ("learning", {"learning": {"exploration_rate": 0.2}}),
    ("grounding", {"grounding": {}}),
    ("checkpoints", {"checkpoints": {"enabled": True}}),
    ("concert", {"concert": {"max_chain_depth": 3}}),
    ("ai_review", {"ai_review": {"enabled": True}}),
    ("isolation", {"isolation": {"enabled": True}}),
    ("notifications", {"notifications": [{"type": "desktop"}]}),
    ("on_success", {"on_success": [{"type": "run_command", "command": "true"}]}),
    ("on_failure_hooks", {"on_failure_hooks": [{"type": "run_command", "command": "true"}]}),
    ("conductor", {"conductor": {"role": "ai"}}),
    ("logging", {"logging": {"level": "DEBUG"}}),
]

IDLE: list[dict[str, Any]] = [
    {},
    {"backend": {"type": "claude_cli"}, "sheet": {**SHEET, "backends": {2: {"cli_model": "m"}}}},
    *({"backend": {"type": kind}} for kind in (*BACKENDS, *SHIPPED_PROFILES) if kind != "command"),
    {"bridge": {"enabled": True, "hybrid_routing_enabled": True}},
    {"backend": {"type": "own", "profile": {"command": {"argv": ["own"]}}, "pty": True, "resume_session": "never"}},
    {"circuit_breaker": {"failure_threshold": 2, "cross_workspace_coordination": False}},
    {"rate_limit": {"detection_patterns": ["busy"], "max_quota_waits": 1}},
    {
        "circuit_breaker": {"enabled": False},
        "learning": {"enabled": False},
        "isolation": {"enabled": True, "mode": "none"},
    },
    {"feedback": {"enabled": False}, "concert": {"enabled": False}, "grounding": None, "ai_review": {"min_score": 1}},
    {"conductor": {"name": "default"}, "logging": {"level": "INFO"}, "notifications": [], "on_success": []},
    {"rate_limit": {"detection_patterns": ["quota", "429"], "wait_minutes": 1, "max_waits": 1}},
    {"cross_sheet": {"auto_capture_stdout": True}, "stale_detection": {"enabled": True}, "parallel": {"enabled": True}},
    {"workspace_lifecycle": {"archive_on_fresh": True}, "priority": 5, "state_backend": "json"},
]


@pytest.mark.parametrize(("name", "fields"), USED, ids=[name for name, _ in USED])
def test_a_feature_in_use_is_named(load: Load, name: str, fields: dict[str, Any]) -> None:
    score = load(**fields).score
    assert unavailable(score) == [name]
    assert unavailable(Score.model_validate(orjson.loads(score.model_dump_json()))) == [name], "also in the coordinator"


@pytest.mark.parametrize("fields", IDLE, ids=range(len(IDLE)))
def test_what_does_nothing_is_not_named(load: Load, fields: dict[str, Any]) -> None:
    assert unavailable(load(**fields).score) == []
