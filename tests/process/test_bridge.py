"""`bridge:` between Ollama and Claude, through a daemon: where a sheet runs, and why.

Ollama is a loopback server, Claude the scripted agent by the name of `claude`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests import AGENT
from tests.fakes.small_apis import serving
from tests.process.daemon import Daemon

pytestmark = pytest.mark.skipif(not find_spec("ollama"), reason="the extra mozartd[ollama] is not installed")

HARD = "design, refactor, debug, analyse and prove a.py b.py c.py d.py e.py f.py g.py h.py; then migrate, optimise, secure it"
NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def hybrid(score: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "claude").symlink_to(AGENT)

    def write(*scripts: str, address: str, **bridge: Any) -> Path:
        backend = {
            "type": "ollama", "command": None, "ollama": {"base_url": address},
            "env": {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        }  # fmt: skip
        return score(*scripts, backend=backend, bridge={"enabled": True, **bridge}, retry={"max_retries": 1})

    return write


def ran(daemon: Daemon, job: str) -> list[list[tuple[str, str]]]:
    """Backend and code of each sheet's attempts."""
    return [[(one["backend"], one["code"]) for one in sheet["attempts"]] for sheet in daemon.job(job)["sheets"]]


def test_complex_sheets_go_to_claude_and_say_so(shared_daemon: Daemon, hybrid: Callable[..., Path]) -> None:
    with serving(("say", "easy")) as server:
        path = hybrid("say easy", f"# {HARD}\ndone", address=server.address, hybrid_routing_enabled=True)
        job = shared_daemon.run(path)
        assert shared_daemon.wait(job)["state"] == "completed", shared_daemon.job(job)
    assert ran(shared_daemon, job) == [[("ollama", "")], [("claude_cli", "")]]
    first, second = (sheet["attempts"][0]["backend_reason"] for sheet in shared_daemon.job(job)["sheets"])
    assert "is not above the threshold 0.7" in first
    assert "is above the threshold 0.7" in second
    assert len(server.questions) == 1
    assert "is above the threshold" in shared_daemon.mozart("status", job).stdout
    planned = json.loads(shared_daemon.mozart("plan", path, "--json").stdout)["sheets"]
    assert [sheet["backend"] for sheet in planned] == ["ollama", "claude_cli"]


def test_claude_does_what_ollama_cannot(shared_daemon: Daemon, hybrid: Callable[..., Path]) -> None:
    job = shared_daemon.run(hybrid("done", address=NOBODY))
    assert shared_daemon.wait(job)["state"] == "completed", shared_daemon.job(job)
    assert ran(shared_daemon, job) == [[("ollama", "E501"), ("claude_cli", "")]]
    reason = shared_daemon.job(job)["sheets"][0]["attempts"][1]["backend_reason"]
    assert reason.startswith("ollama failed: E501 ")
    shared_daemon.request("retry", job=job, sheets=[1])
    assert shared_daemon.wait(job)["state"] == "completed"
    assert ran(shared_daemon, job)[0][2:] == [("ollama", "E501"), ("claude_cli", "")], "a retry begins anew"


def test_who_wants_to_stay_at_home_does(shared_daemon: Daemon, hybrid: Callable[..., Path]) -> None:
    job = shared_daemon.run(hybrid("done", address=NOBODY, fallback_to_claude=False, hybrid_routing_enabled=True))
    assert shared_daemon.wait(job)["state"] == "failed"
    assert ran(shared_daemon, job) == [[("ollama", "E501")]]
