"""A8, B10: words about a limit hold what they concern, for as long as they may be believed; words about limits hold nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import backends
from backends.base import Ending
from tests.contract.recordings import run_of
from tests.process.asking import ended, submit
from tests.process.daemon import Daemon

Score = Callable[..., Path]

NOW = 1_800_000_000.0
SAID = """
You've hit your limit
You’ve hit your limit · resets 3am
Your limit resets at 3pm
daily limit reached
Daily limit reached, try again tomorrow
5-hour limit reached - resets 3am
5-hour limit reached ∙ resets 3am
Weekly limit reached ∙ resets Mon 9am
You have reached your usage limit
You've reached your daily message limit. Try again at 9pm
You have exceeded your monthly limit
Usage limit reached. Resets in 2h
Claude usage limit reached. Your limit will reset at 7pm (UTC)
You've used up your limit for today
You are out of credits
You have run out of credits
You're out of extra usage · resets 3am
Rate limit reached for gpt-5 in organization org-x on tokens per min
rate limit exceeded, retry in 20s
Rate limited. Retry after 30 seconds
Error: 429 Too Many Requests
Too many requests, please slow down
HTTP 429
quota exceeded
You exceeded your current quota, please check your plan and billing details
Quota exceeded for quota metric 'Generate Content API requests per minute'
RESOURCE_EXHAUSTED: quota
monthly limit reached
hourly limit exceeded
Session limit hit, resets at 16:00
API limit reached
message limit reached
request limit exceeded
Spending limit reached
weekly usage limit hit
No more messages remaining until 5pm
Limit reached. Try again in 3 hours
You've hit your Opus limit
You've hit your org's monthly usage limit
your daily limit has been reached
plan limit reached
""".strip().splitlines()
ABOUT = """
FAILED tests/test_limits.py::test_daily_limit_reached - AssertionError
AssertionError: expected 'daily limit reached' to be shown
E       assert 'daily limit reached' in page
time limit exceeded
CPU time limit exceeded
Job exceeded the time limit
memory limit exceeded
stack limit reached
RecursionError: maximum recursion depth exceeded
recursion limit reached
iteration limit reached without convergence
max turns limit reached
Context limit reached
file size limit exceeded
character limit exceeded in title
line length limit exceeded (E501)
ulimit: open files: cannot modify limit: Operation not permitted
the limit is 5
you can raise your limit in the settings
add a test for when the user hits the rate limit
implement daily limit handling
def daily_limit_reached(self):
raise DailyLimitReached("daily limit reached")
error: unused variable `limit_reached`
src/limits.rs:10:5: error: daily limit reached is not defined
the retry limit was reached after 3 tries
upload limit is 10 MB
rate limiting is disabled
no rate limit configured
rate_limit must be an integer
Expected: 429, got: 200
429 files changed
step 429 of 500 failed
docs: explain what happens when your limit resets
quota column is missing
disk quota exceeded
KeyError: 'daily_limit'
nesting limit exceeded
should show "You've hit your limit" banner
FAIL: daily limit reached banner
- "You have reached your limit" (expected)
""".strip().splitlines()


def load_backend(name: str) -> Any:
    return backends.load(name)


def judged(backend: str, said: str, **options: Any) -> Any:
    run = run_of(options)
    parser = load_backend(backend).parser(run)
    stdout, stderr = ("", said) if backend != "claude_cli" else (said, "")
    return parser.verdict(Ending(1, None, None, stderr, stdout, NOW))


@pytest.mark.parametrize("backend", ["command", "aider", "claude_cli"])
def test_B10_what_says_that_a_limit_is_reached_is_a_hold_and_what_speaks_of_limits_is_none(backend: str) -> None:
    options = {"output_format": "text"} if backend == "claude_cli" else {}
    missed = [said for said in SAID if judged(backend, said, **options).limit is None]
    mistaken = [said for said in ABOUT if judged(backend, said, **options).limit is not None]
    assert (missed, mistaken) == ([], [])


def test_B10_it_is_held_until_what_is_said() -> None:
    limit = judged("command", "You've hit your limit, resets in 20 minutes").limit
    assert limit.until == pytest.approx(NOW + 1200)
    assert limit.guess


def test_A08_two_commands_share_no_login_unless_the_score_says_so() -> None:
    from ipc.score.schema import Score as Model
    from mozartd.coordinator.scopes import choices_by_sheet

    def scope(command: Any, **more: Any) -> str:
        backend = {"type": "command", "command": command, **more}
        score = {"name": "s", "backend": backend, "sheet": {"size": 1, "total_items": 1}, "prompt": {}}
        return choices_by_sheet(Model.model_validate(score))[0][0].scope

    assert scope("one") == scope("one") != scope("two")
    assert scope(["one", "x"]) == scope(["one", "x"]) != scope(["one", "y"])
    assert scope("one", account="mine") == scope(["two"], account="mine") == "command/mine/default"
    for shell in ("sh -s", ["bash"], ["python3", "-"]):
        assert scope(shell) != scope(shell), "each job's own"
    assert scope(["python3", "agent.py"]) == scope(["python3", "agent.py"])


LIMITED = "err error 429: too many requests, your limit resets in 7 days\nexit 1"


def test_A08_a_guess_holds_no_longer_than_its_wait_and_no_other_command_and_goes_with_its_job(
    calm_daemon: Daemon, score: Score
) -> None:
    job = submit(calm_daemon, score(LIMITED, rate_limit={"wait_minutes": 2}))
    calm_daemon.wait_for(job, "sheet.waiting")
    (held,) = calm_daemon.request("limits")["holds"]
    assert datetime.fromisoformat(held["until"]).timestamp() < time.time() + 125
    other = score("say hello", name="other", backend={"command": ["true"]})
    assert ended(calm_daemon, submit(calm_daemon, other))["state"] == "completed"
    calm_daemon.request("cancel", job=job)
    ended(calm_daemon, job)
    same = score("say hello", name="same")
    assert ended(calm_daemon, submit(calm_daemon, same), timeout=10)["state"] == "completed"
    assert calm_daemon.request("limits")["holds"] == []


def test_A08_a_guess_counts_once_until_the_time_it_gave() -> None:
    from mozartd.coordinator.model import History, Policy
    from mozartd.coordinator.retry import Hold, Pause, decide
    from tests.unit.scenes import report

    policy = Policy(limit_wait=3600.0, max_waits=2)

    def at(now: float, history: History, guess: bool = True) -> Any:
        limit = {"until": 7 * 86400.0, "retry_after": None, "kind": "requests", "guess": guess}
        return decide(report("rate_limited", "E101", exit_code=1, limit=limit), "normal", history, policy, now, 0.5)

    first = at(0.0, History())
    assert first == Hold(3600.0, first.reason, True, 7 * 86400.0)
    again = at(3600.0, History(waits=1, said=7 * 86400.0))
    assert (again.until, again.counts) == (7200.0, False)
    assert isinstance(at(7 * 86400.0 + 1, History(waits=2, said=7 * 86400.0)), Pause)
    assert at(0.0, History(), guess=False).until == 7 * 86400.0, "what a service tells is believed"
