"""A19: a cost limit stops what runs, and what was stopped goes on when a person allows more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.asking import ended, outcome, states, submit
from tests.process.daemon import Daemon, wait_until

Score = Callable[..., Path]

CLAUDE = {"type": "claude_cli", "command": None}
ONCE = {"max_retries": 1}


def event(**fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":"))


def message(tokens: int) -> list[str]:
    usage = {"input_tokens": 10, "output_tokens": 1}
    return [
        event(
            type="stream_event", event={"type": "message_start", "message": {"usage": usage}}, parent_tool_use_id=None
        ),
        event(
            type="stream_event",
            event={"type": "message_delta", "usage": {"output_tokens": tokens}},
            parent_tool_use_id=None,
        ),
    ]


def stream(daemon: Daemon, then: str, *messages: int) -> None:
    """A stand-in for Claude: messages of so many tokens at $75 a million, then the rest of a shell script."""
    lines = [event(type="system", subtype="init", session_id="0-0", model="claude-opus-4-1")]
    for tokens in messages:
        lines += message(tokens)
    words = "\n".join(f"echo '{line}'" for line in lines)
    stand_in = daemon.scripts / "claude"
    stand_in.unlink(missing_ok=True)
    script = f'#!/bin/sh\ncat >/dev/null\necho "$@" >"$MOZART_WORKSPACE/args"\n{words}\n{then}\n'
    stand_in.write_text(script)
    stand_in.chmod(0o755)


def result(cost: float) -> str:
    told = event(
        type="result",
        subtype="success",
        is_error=False,
        num_turns=1,
        result="done",
        session_id="0-0",
        total_cost_usd=cost,
    )
    return f"echo '{told}'"


def played(daemon: Daemon, path: Path) -> dict[str, Any]:
    return outcome(daemon, ended(daemon, submit(daemon, path))["id"])


def costs(**fields: Any) -> dict[str, Any]:
    return {"cost_limits": {"enabled": True, "max_cost_per_job": 1.0, **fields}}


def test_A19_a_stream_beyond_the_limit_is_stopped(calm_daemon: Daemon, score: Score) -> None:
    # $1.20 in the first message; what comes then would cost $60.
    stream(calm_daemon, "sleep 300", 16_000)
    found = played(calm_daemon, score("x", backend=CLAUDE, retry=ONCE, **costs()))
    assert found["state"] == "paused"
    assert "$1.20 of max_cost_per_job $1.00" in found["reason"]
    assert found["sheets"][1]["state"] == "pending"
    (attempt,) = found["sheets"][1]["attempts"]
    assert (attempt["verdict"], attempt["code"]) == ("capped", "E509")
    refused = calm_daemon.mozart("resume", found["id"])
    assert refused.returncode
    assert "$1.20" in refused.stderr
    assert "modify" in refused.stderr
    stream(calm_daemon, result(0.01), 10)
    done = calm_daemon.mozart(
        "modify", found["id"], score("x", backend=CLAUDE, retry=ONCE, **costs(max_cost_per_job=9.0))
    )
    assert done.returncode == 0, done.stderr
    assert calm_daemon.mozart("resume", found["id"]).returncode == 0
    assert ended(calm_daemon, found["id"])["state"] == "completed", "no retry was spent"


def test_A19_rules_that_hold_complete_what_was_stopped_and_the_last_line_says_the_cost(
    calm_daemon: Daemon, score: Score
) -> None:
    stream(calm_daemon, "sleep 300", 16_000)
    stand_in = calm_daemon.scripts / "claude"
    stand_in.write_text(stand_in.read_text().replace("cat >", 'touch "$MOZART_WORKSPACE/out.txt"\ncat >', 1))
    rules = [{"type": "file_exists", "path": "out.txt"}]
    path = score("x", backend=CLAUDE, retry=ONCE, validations=rules, **costs())
    done = calm_daemon.mozart("run", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "above max_cost_per_job $1.00" in done.stdout.rstrip().splitlines()[-1]


def test_A19_all_of_a_job_that_run_count_and_stop_together(calm_daemon: Daemon, score: Score) -> None:
    stream(calm_daemon, "sleep 300", 4_000)
    wide = {"enabled": True, "max_concurrent": 4}
    found = played(calm_daemon, score(*"xxxx", backend=CLAUDE, retry=ONCE, parallel=wide, **costs()))
    assert found["state"] == "paused"
    # The first to reach it pauses the job; the others are gone a moment later.
    wait_until(lambda: set(states(outcome(calm_daemon, found["id"])).values()) == {"pending"})
    found = outcome(calm_daemon, found["id"])
    assert found["cost_usd"] == pytest.approx(1.2, abs=0.01)


def test_A19_a_sheets_own_limit_stops_that_sheet(calm_daemon: Daemon, score: Score) -> None:
    stream(calm_daemon, "sleep 300", 8_000)
    limits = {"cost_limits": {"enabled": True, "max_cost_per_sheet": 0.5}}
    found = played(calm_daemon, score("x", backend=CLAUDE, retry=ONCE, **limits))
    assert found["state"] == "paused"
    assert "max_cost_per_sheet $0.50" in found["reason"]


def test_A19_finish_lets_it_end_and_claude_is_told_what_is_left(
    calm_daemon: Daemon, score: Score, tmp_path: Path
) -> None:
    stream(calm_daemon, f"sleep 0.3\n{result(1.2)}", 16_000)
    found = played(calm_daemon, score("x", backend=CLAUDE, retry=ONCE, **costs(on_reached="finish")))
    assert found["state"] == "completed"
    assert "above max_cost_per_job" in found["reason"]
    args = tmp_path / "workspace" / "args"
    assert "--max-budget-usd" not in args.read_text()
    stream(calm_daemon, result(0.4), 10)
    found = played(calm_daemon, score("x", "y", backend=CLAUDE, retry=ONCE, **costs()))
    assert found["state"] == "completed"
    assert "--max-budget-usd 0.6000" in args.read_text(), "of the second sheet"


def test_A19_a_limit_of_its_own_that_claude_keeps_pauses_too(calm_daemon: Daemon, score: Score) -> None:
    told = event(
        type="result", subtype="error_max_budget_usd", is_error=True, num_turns=2, errors=[], total_cost_usd=1.1
    )
    stream(calm_daemon, f"echo '{told}'\nexit 1", 10)
    found = played(calm_daemon, score("x", backend=CLAUDE, retry=ONCE, **costs()))
    assert (found["state"], found["sheets"][1]["state"]) == ("paused", "pending")


def test_A19_a_backend_without_a_price_finishes_and_the_check_says_so(cold: Daemon, score: Score) -> None:
    for backend, warned in (({"type": "codex_cli"}, True), ({"type": "codex_cli", "cli_model": "gpt-5"}, False)):
        said = cold.mozart("validate", score("x", backend={"command": None, **backend}, **costs()))
        assert ("V213" in said.stdout + said.stderr) == warned
    said = cold.mozart("validate", score("x", backend=CLAUDE, **costs(on_reached="never")))
    assert said.returncode == 1


def test_A19_the_models_that_the_check_knows_are_those_of_the_table() -> None:
    from ipc.score.costs import PRICED_MODELS
    from mozartd.coordinator.budget import load_prices

    assert set(PRICED_MODELS) == set(load_prices())
