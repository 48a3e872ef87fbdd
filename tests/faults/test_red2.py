"""What was tried on mended faults by somebody who had not seen how they were mended: other members of each kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backends
from tests.contract.recordings import run_of
from tests.process.asking import ended, open_gate, outcome, play, reach, submit
from tests.process.daemon import Daemon, wait_until

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


# ---- D15: agents that try again by themselves -------------------------------------------------------------------------

GEMINI = "Attempt 1 failed with status 429. Retrying after 5477ms... _ApiError: Resource has been exhausted"
AIDER = [
    "litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit reached for gpt-5",
    "The API provider has rate limited you. Try again later or check your quotas.",
    "Retrying in 8.0 seconds...",
]


def test_D15_a_limit_that_an_agent_sits_out_holds_at_once_and_ends_when_it_gets_through(
    calm_daemon: Daemon, score: Score, tmp_path: Path
) -> None:
    ways = {"err": [f"err {GEMINI}"], "out": [f"say {line}" for line in AIDER]}
    for name, said in ways.items():
        first = submit(calm_daemon, score(*["\n".join([*said, f"gate {name}", "say ok"])], name=name))
        (held,) = wait_until(lambda: calm_daemon.request("limits")["holds"])
        assert held["kind"] == "limit"
        assert first in held["reason"]
        second = submit(calm_daemon, score("say second", name="second"))
        waiting = outcome(calm_daemon, second)
        assert waiting["sheets"][1]["state"] == "pending", "nobody begins what would be refused, too"
        assert calm_daemon.job(first)["job"]["state"] == "running", "it is left alone"
        open_gate(tmp_path / "workspace" / name)
        assert ended(calm_daemon, first)["state"] == "completed"
        assert ended(calm_daemon, second, timeout=4)["state"] == "completed", "before the time that was told"
        assert calm_daemon.request("limits")["holds"] == []


def test_D15_words_that_no_agent_waits_by_hold_nothing(calm_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    about = [
        "say retry the test of the rate limiter",
        "say FAILED tests/test_retry.py::test_429 - retrying",
        "err connection refused, retrying in 5s",
        "say Retrying in 3 seconds",
        f"say {AIDER[0]}",
        "say the docs explain what happens when a rate limit is reached: retry after 5s",
    ]
    job = submit(
        calm_daemon, score("\n".join(["sleep 0.15\n".join(f"{line}\n" for line in about), "gate g", "say ok"]))
    )
    reach(tmp_path / "workspace" / "g")
    assert calm_daemon.request("limits")["holds"] == []
    open_gate(tmp_path / "workspace" / "g")
    assert ended(calm_daemon, job)["state"] == "completed"


def test_D15_a_profiles_patience_is_that_of_a_wait_which_it_tells() -> None:
    from backends.base import STDERR, Limited, Result

    def looked(*lines: str, **options: Any) -> list[Any]:
        run = run_of(options)
        return list(backends.load("aider").parser(run).look(STDERR, "\n".join(lines)))

    (limit,) = looked(*AIDER)
    assert (limit.patient, limit.guess, limit.kind) == (True, True, "requests")
    (limit,) = looked(*AIDER[:2], "Retrying in 60.0 seconds...")
    assert isinstance(limit, Limited)
    assert not limit.patient
    busy = "litellm.InternalServerError: 529 overloaded_error"
    assert looked(busy, "Retrying in 2.0 seconds...") == []
    (limit,) = looked(busy, "Retrying in 32.0 seconds...")
    assert (limit.kind, limit.patient) == ("overloaded", False)
    unreachable = "litellm.APIConnectionError: connection refused"
    assert looked(unreachable, "Retrying in 2.0 seconds...") == []
    assert looked(unreachable, "Retrying in 32.0 seconds...") == [Result(False, unreachable, stop=True)]


def test_D15_one_that_sits_out_replaces_no_other_hold_and_is_no_reason_to_learn() -> None:
    from mozartd.coordinator.journal import Journal
    from mozartd.coordinator.limits import Limits

    limits = Limits(Journal(0))
    limits.hold("x", 500.0, "told", "", 100.0)
    limits.sit_out("x", 105.0, "waits", "", 101.0, False, "a-1:1:1")
    limits.get_up("x", "a-1:1:1", served=True, limited=False, now=102.0)
    assert limits.held_until("x") == 500.0
    limits.sit_out("y", 105.0, "waits", "", 100.0, False, "a-1:1:1")
    limits.sit_out("y", 110.0, "waits", "", 100.0, False, "b-1:1:1")
    limits.get_up("y", "a-1:1:1", served=False, limited=False, now=102.0)
    assert limits.held_until("y") == 110.0, "the other still waits"
    limits.get_up("y", "b-1:1:1", served=False, limited=False, now=103.0)
    assert limits.held_until("y") == 0.0
    assert limits.of("y").allowance is None
    limits.sit_out("z", 105.0, "waits", "", 100.0, False, "a-1:1:1")
    limits.hold_by_hand("z", 900.0, "mine", 101.0)
    limits.get_up("z", "a-1:1:1", served=True, limited=False, now=102.0)
    assert limits.held_until("z") == 900.0, "a person's word"


# ---- A19: what may be spent --------------------------------------------------------------------------------------------


def spending(tokens: int) -> str:
    """A Claude that says so much of $75 a million."""
    told = [
        {"type": "system", "subtype": "init", "session_id": "0-0", "model": "claude-opus-4-1"},
        *(
            {"type": "stream_event", "event": event, "parent_tool_use_id": None}
            for event in (
                {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}},
                {"type": "message_delta", "usage": {"output_tokens": tokens}},
            )
        ),
    ]
    return "\n".join(f"echo '{json.dumps(line, separators=(',', ':'))}'" for line in told)


def test_A19_a_limit_that_is_lowered_stops_what_runs_and_no_retry_begins_above_it(
    calm_daemon: Daemon, score: Score
) -> None:
    def dear(usd: float) -> Path:
        return score("x", "y", backend=CLAUDE, retry=ONCE, cost_limits={"max_cost_per_job": usd})

    put_claude(calm_daemon, f"{spending(8000)}\nsleep 300")
    job = submit(calm_daemon, dear(5.0))
    calm_daemon.wait_for(job, "attempt.started")
    wait_until(lambda: "message_delta" in calm_daemon.mozart("logs", job, "--raw").stdout)
    assert calm_daemon.mozart("modify", job, dear(0.3)).returncode == 0
    found = ended(calm_daemon, job, timeout=10)
    assert found["state"] == "paused"
    assert "$0.60 of max_cost_per_job $0.30" in found["reason"]
    # It ended by itself before anybody could stop it, above its limit.
    put_claude(calm_daemon, f"{spending(16000)}\nexit 1")
    failed = submit(calm_daemon, score("x", backend=CLAUDE, retry=ONCE, cost_limits={"max_cost_per_job": 1.0}))
    if ended(calm_daemon, failed)["state"] == "failed":
        refused = calm_daemon.mozart("retry", failed)
        assert refused.returncode == 1
        assert "$1.20 of max_cost_per_job $1.00" in refused.stderr
