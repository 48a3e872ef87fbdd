"""What was tried on mended faults by somebody who had not seen how they were mended: other members of each kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.process.asking import play
from tests.process.daemon import Daemon

Score = Callable[..., Path]

CLAUDE = {"type": "claude_cli", "command": None}
ONCE = {"max_retries": 1}


def put_claude(daemon: Daemon, script: str) -> None:
    """A stand-in for Claude that reads its prompt and runs a shell script."""
    path = daemon.scripts / "claude"
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    path.chmod(0o755)


def failing(said: str) -> str:
    told = {"type": "result", "subtype": "success", "is_error": True, "num_turns": 1, "result": said}
    return f"cat <<'E'\n{json.dumps(told)}\nE"


# ---- B1: done is what was done by this attempt ------------------------------------------------------------------------


def test_B01_an_agent_that_was_turned_away_and_exits_with_0_is_not_done(
    calm_daemon: Daemon, score: Score, tmp_path: Path
) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "out.txt").write_text("of the first run\n")
    rules = [{"type": "file_exists", "path": "out.txt"}]
    said = {
        "Invalid API key · Please run /login": ("paused", "E502"),
        "Prompt is too long": ("failed", "E507"),
        "API Error: Connection error.": ("failed", "E501"),
    }
    for words, (state, code) in said.items():
        put_claude(calm_daemon, failing(words))
        found = play(calm_daemon, score("x", backend=CLAUDE, validations=rules, retry=ONCE))
        attempt = found["sheets"][1]["attempts"][-1]
        assert (found["state"], attempt["code"], attempt["exit_code"]) == (state, code, 0), words
        calm_daemon.calm()
    # What it made all the same is its own.
    (tmp_path / "workspace" / "out.txt").unlink()
    put_claude(calm_daemon, f'touch "$MOZART_WORKSPACE/out.txt"\n{failing("Prompt is too long")}')
    assert play(calm_daemon, score("x", backend=CLAUDE, validations=rules, retry=ONCE))["state"] == "completed"
