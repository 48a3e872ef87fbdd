"""What a person does to running jobs: pause, resume, modify, priority, holds, groups, jobs after others; and what it costs."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.process.daemon import Daemon, is_alive, wait_until

Score = Callable[..., Path]

PARALLEL = {"enabled": True, "max_concurrent": 4}


@pytest.fixture
def daemon(calm_daemon: Daemon) -> Daemon:
    return calm_daemon


@pytest.fixture
def own_daemon(start_daemon: Callable[..., Daemon]) -> Daemon:
    """For what stops it, or what it learns from."""
    return start_daemon()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


def sheets(daemon: Daemon, job: str) -> dict[int, dict[str, Any]]:
    return {sheet["n"]: sheet for sheet in daemon.job(job)["sheets"]}


def state(daemon: Daemon, job: str) -> str:
    found: str = daemon.job(job)["job"]["state"]
    return found


def asked(daemon: Daemon, *args: str | Path) -> dict[str, Any]:
    done = daemon.mozart(*args, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_paused_job_starts_nothing_more_and_what_runs_goes_on(daemon: Daemon, score: Score, workspace: Path) -> None:
    job = daemon.run(score("gate go\nwrite one.txt done", "write two.txt done", sheet={"dependencies": {2: [1]}}))
    wait_until((workspace / "go").exists)
    assert asked(daemon, "pause", job) == {"job": job, "sheets": [1, 2]}
    (workspace / "go").open("w").close()
    daemon.wait_for(job, "sheet.completed", sheet=1)
    found = sheets(daemon, job)
    assert (found[2]["state"], found[2]["reason"]) == ("pending", "paused by hand")
    assert not (workspace / "two.txt").exists()
    assert daemon.mozart("wait", job).returncode == 3
    asked(daemon, "resume", job)
    assert daemon.wait(job)["state"] == "completed"


def test_pause_now_stops_agents_and_resume_runs_them_again_for_nothing(daemon: Daemon, score: Score) -> None:
    job = daemon.run(score("attempt 1: hang", retry={"max_retries": 1}))
    daemon.wait_for(job, "attempt.started")
    agent = sheets(daemon, job)[1]["attempts"][0]["agent_pid"]
    asked(daemon, "pause", job, "--now")
    wait_until(lambda: not is_alive(agent))
    daemon.wait_for(job, "attempt.finished")
    stopped = sheets(daemon, job)[1]["attempts"][0]
    assert (stopped["code"], stopped["message"]) == ("E004", "the job was paused")
    assert stopped["hint"]
    asked(daemon, "resume", job)
    assert daemon.wait(job)["state"] == "completed", "one full attempt is allowed; the paused one was not it"


def test_a_job_waits_while_paused_also_between_two_attempts(daemon: Daemon, score: Score) -> None:
    job = daemon.run(score("attempt 1: exit 3", retry={"max_retries": 2, "base_delay_seconds": 1}))
    daemon.wait_for(job, "sheet.waiting")
    # Not by the command, which takes longer on a busy machine than the sheet waits.
    daemon.request("pause", job=job)
    wait_until(lambda: sheets(daemon, job)[1]["state"] == "pending")
    assert len(sheets(daemon, job)[1]["attempts"]) == 1
    asked(daemon, "resume", job)
    assert daemon.wait(job)["state"] == "completed"


def test_a_pause_survives_the_coordinator(daemon: Daemon, score: Score) -> None:
    asked(daemon, "hold", "command")
    job = daemon.run(score("say hello"))
    asked(daemon, "pause", job)
    daemon.kill("coordinator")
    wait_until(daemon.is_listening)
    asked(daemon, "limits", "clear", "command")
    assert state(daemon, job) == "paused"
    asked(daemon, "resume", job)
    assert daemon.wait(job)["state"] == "completed"


def test_a_hold_keeps_a_backend_still_says_so_and_survives_a_restart(daemon: Daemon, score: Score) -> None:
    (held,) = asked(daemon, "hold", "command", "--for", "1h", "--reason", "maintenance")["holds"]
    assert held["scope"] == {"backend": "command", "account": "*", "model": "*"}
    job = daemon.run(score("say hello"))
    found = sheets(daemon, job)[1]
    assert (found["state"], found["reason"]) == ("pending", "hold on command: maintenance")
    assert found["until"] == held["until"]
    daemon.kill("coordinator")
    wait_until(daemon.is_listening)
    (again,) = asked(daemon, "limits")["holds"]
    assert (again["until"], again["reason"], again["waiting"]) == (held["until"], "maintenance", 1)
    other = daemon.run(score("say hello", backend={"cli_model": "other"}, name="other"))
    assert sheets(daemon, other)[1]["reason"] == "hold on command: maintenance", "also what nobody knew then"
    asked(daemon, "cancel", other)
    asked(daemon, "limits", "clear", "command")
    assert daemon.wait(job)["state"] == "completed"
    assert daemon.mozart("limits", "clear", "command").returncode == 1, "nothing holds it any more"


def test_a_limit_of_one_job_stops_the_next_start_of_another_on_that_scope(own_daemon: Daemon, score: Score) -> None:
    limited = "err error: HTTP 429 Too Many Requests, retry-after: 600\nexit 1"
    first = own_daemon.run(score(limited, name="first"))
    own_daemon.wait_for(first, "sheet.waiting")
    second = own_daemon.run(score("say hello", name="second"))
    found = sheets(own_daemon, second)[1]
    assert found["state"] == "pending"
    assert re.match(r"hold on command/\w+/default: E101", found["reason"])
    assert not found["attempts"]
    asked(own_daemon, "limits", "clear", "command")
    assert own_daemon.wait(second)["state"] == "completed"
    own_daemon.mozart("cancel", first)


def test_an_agent_that_writes_about_limits_holds_nothing(daemon: Daemon, score: Score) -> None:
    job = daemon.run(
        score("say error: HTTP 429 Too Many Requests, retry-after: 600\nerr rate limit reached, try again later")
    )
    assert daemon.wait(job)["state"] == "completed"
    assert asked(daemon, "limits") == {"holds": []}


def test_modify_plans_again_what_has_not_run(daemon: Daemon, score: Score, workspace: Path) -> None:
    needs = {"dependencies": {2: [1]}}
    job = daemon.run(score("gate go\nwrite one.txt old", "write two.txt old", sheet=needs))
    wait_until((workspace / "go").exists)
    new = score("exit 9", "write two.txt new", "write three.txt new", sheet={"dependencies": {2: [1], 3: [2]}})
    assert asked(daemon, "modify", job, new) == {"job": job, "sheets": [2, 3], "changed": {}}
    (workspace / "go").open("w").close()
    assert daemon.wait(job)["sheets"] == {"completed": 3}
    assert [(workspace / f"{name}.txt").read_text() for name in ("one", "two", "three")] == ["old\n", "new\n", "new\n"]


def test_what_ran_before_a_new_score_is_shown_as_what_it_was(daemon: Daemon, score: Score, workspace: Path) -> None:
    """Another backend would find nothing to show in it; and what runs meanwhile goes on by the new one."""
    job = daemon.run(score("say plain words", "gate go\nsay no json\nexit 1", sheet={"dependencies": {2: [1]}}))
    wait_until((workspace / "go").exists)
    fake_claude(daemon, 0, result("played"))
    new = score("x", "y", sheet={"dependencies": {2: [1]}}, backend={"type": "claude_cli", "command": None})
    asked(daemon, "modify", job, new)
    (workspace / "go").open("w").close()
    assert daemon.wait(job)["state"] == "completed"
    found = sheets(daemon, job)
    assert [found[n]["backend"] for n in (1, 2)] == ["command", "claude_cli"]
    assert [attempt["backend"] for attempt in found[2]["attempts"]] == ["command", "claude_cli"]
    shown = daemon.mozart("logs", job).stdout.splitlines()
    assert shown[:2] == ["[1] plain words", "[2] no json"]


def test_modify_gives_the_job_the_priority_and_the_group_of_its_new_score(
    shared_daemon: Daemon, score: Score, workspace: Path
) -> None:
    """Also what runs of it counts in the other group at once; and what a person said holds where the scores say nothing new."""

    def running() -> dict[str, int]:
        return {one["name"]: one["running"] for one in shared_daemon.request("group.list")["groups"]}

    def told(**fields: Any) -> tuple[str, list[Any], dict[str, int]]:
        done = shared_daemon.mozart("modify", job, score("gate go", "say two", group="night", **fields))
        found = shared_daemon.job(job)["job"]
        return done.stdout.rstrip("\n"), [found["priority"], found["group"]], running()

    for name in ("day", "night"):
        shared_daemon.request("group.set", name=name, parallel=1)
    job = shared_daemon.run(score("gate go", "say two", group="day"))
    wait_until((workspace / "go").exists)
    modified = f"modified {job}: sheet 2 to run"
    assert told(priority=40) == (f"{modified}, priority 40, group night", [40, "night"], {"day": 0, "night": 1})
    shared_daemon.request("priority", job=job, priority=7)
    assert told(priority=40) == (modified, [7, "night"], {"day": 0, "night": 1})
    (workspace / "go").open("w").close()
    assert shared_daemon.wait(job)["state"] == "completed"
    assert running() == {"day": 0, "night": 0}
    for name in ("day", "night"):
        shared_daemon.request("group.set", name=name)


def test_groups_and_backends_have_limits_over_all_jobs(start_daemon: Callable[..., Daemon], score: Score) -> None:
    daemon = start_daemon({"backends": {"command": {"max_concurrent": 3}}})
    asked(daemon, "group", "set", "night", "--parallel", "2")
    jobs = [
        daemon.run(score(*["hang"] * 2, name=f"song{n}", parallel=PARALLEL), "--group", group)
        for n, group in enumerate(["night", "night", "day"])
    ]
    wait_until(lambda: sum(sheet["state"] == "running" for job in jobs for sheet in sheets(daemon, job).values()) == 3)
    waiting = [sheet["reason"] for job in jobs for sheet in sheets(daemon, job).values() if sheet["state"] == "pending"]
    assert len(waiting) == 3
    assert {"command is at its limit (backends.command.max_concurrent)"} <= set(waiting)
    assert asked(daemon, "group")["groups"] == [{"name": "night", "parallel": 2, "running": 2, "unsaved": False}]
    for job in jobs:
        daemon.mozart("cancel", job)


def test_a_job_after_another_begins_when_that_has_completed(daemon: Daemon, score: Score, workspace: Path) -> None:
    first = daemon.run(score("gate go", name="first"))
    wait_until((workspace / "go").exists)
    second = daemon.run(score("say hello", name="second"), "--after", first)
    assert sheets(daemon, second)[1]["reason"] == f"after {first}"
    third = daemon.run(score("say hello", name="third"), "--after", first)
    asked(daemon, "cancel", third)
    daemon.kill("coordinator")
    wait_until(daemon.is_listening)
    (workspace / "go").open("w").close()
    assert daemon.wait(second)["state"] == "completed"
    asked(daemon, "retry", third)
    assert daemon.wait(third)["state"] == "completed", "the first one ended while this one had"


def test_a_job_after_one_that_failed_waits_for_a_person(daemon: Daemon, score: Score, workspace: Path) -> None:
    first = daemon.run(score("gate go\nexit 1", name="first", retry={"max_retries": 1}))
    wait_until((workspace / "go").exists)
    second = daemon.run(score("say hello", name="second"), "--after", first)
    (workspace / "go").open("w").close()
    wait_until(lambda: state(daemon, second) == "paused")
    assert first in daemon.job(second)["job"]["reason"]
    asked(daemon, "resume", second)
    assert daemon.wait(second)["state"] == "completed"


def test_a_job_begins_at_its_time(daemon: Daemon, score: Score) -> None:
    job = daemon.run(score("say hello"), "--at", "+1h")
    found = sheets(daemon, job)[1]
    assert (found["state"], found["reason"]) == ("pending", "starts later")
    assert found["until"]
    late = daemon.mozart("run", score("say hello"), "--at", "+99999999d")
    assert (late.returncode, "a hundred years" in late.stderr) == (2, True)
    soon = daemon.run(score("say hello"), "--at", "+1s")
    assert daemon.wait(soon)["state"] == "completed"
    daemon.mozart("cancel", job)


def test_only_so_many_jobs_are_under_way_at_once(
    start_daemon: Callable[..., Daemon], score: Score, workspace: Path
) -> None:
    daemon = start_daemon({"max_concurrent_jobs": 1})
    daemon.run(score("gate go", name="first"))
    wait_until((workspace / "go").exists)
    second = daemon.run(score("say hello", name="second"))
    full = "waiting for another job to end (max_concurrent_jobs)"
    assert sheets(daemon, second)[1]["reason"] == full
    asked(daemon, "pause", second)
    asked(daemon, "resume", second)
    assert (state(daemon, second), sheets(daemon, second)[1]["reason"]) == ("queued", full)
    (workspace / "go").open("w").close()
    assert daemon.wait(second)["state"] == "completed"


def test_priority_is_a_share_and_has_bounds(daemon: Daemon, score: Score) -> None:
    asked(daemon, "hold", "command")
    job = daemon.run(score("say hello"))
    asked(daemon, "priority", job, "high")
    assert daemon.job(job)["job"]["priority"] == 40
    assert daemon.mozart("priority", job, "1000").returncode == 2
    daemon.mozart("cancel", job)


def test_a_login_that_is_missing_pauses_the_job_and_holds_the_scope_for_all(daemon: Daemon, score: Score) -> None:
    error = {"type": "assistant", "error": "authentication_failed", "message": {"id": "1", "content": []}}
    fake_claude(daemon, 1, error, result("Not logged in · Please run /login", is_error=True))
    job = daemon.run(score("say hello", backend={"type": "claude_cli", "command": None}))
    wait_until(partial(is_in, daemon, job, "paused"))
    (held,) = asked(daemon, "limits")["holds"]
    assert held["until"] is None
    assert "E502" in held["reason"]
    assert daemon.mozart("wait", job).returncode == 3
    fake_claude(daemon, 0, result("done"))
    asked(daemon, "resume", job)
    assert asked(daemon, "limits") == {"holds": []}
    assert daemon.wait(job)["state"] == "completed"


def fake_claude(daemon: Daemon, code: int, *events: dict[str, Any]) -> Path:
    """A program of that name which prints these events, as Claude Code does, and exits so."""
    program = daemon.scripts / "claude"
    lines = "".join(f"{json.dumps(event)}\n" for event in events)
    program.write_text(f"#!/bin/sh\ncat >/dev/null\ncat <<'EVENTS'\n{lines}EVENTS\nexit {code}\n")
    program.chmod(0o755)
    return program


def result(text: str, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    return {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": text,
        "session_id": "s",
        "usage": usage,
        **more,
    }


def is_in(daemon: Daemon, job: str, wanted: str) -> bool:
    return state(daemon, job) == wanted


def test_events_tell_it_all_in_order(daemon: Daemon, score: Score) -> None:
    job = daemon.run(score("say hello"))
    daemon.wait(job)
    types = [event["type"] for event in daemon.events(job)]
    assert types == [
        "job.queued", "job.running", "sheet.running", "attempt.started", "attempt.finished", "sheet.completed", "job.completed",
    ]  # fmt: skip


def test_a_job_that_has_cost_its_limit_pauses(daemon: Daemon, score: Score) -> None:
    fake_claude(daemon, 0, result("done", total_cost_usd=0.75))
    costs = {"enabled": True, "max_cost_per_job": 0.5}
    job = daemon.run(score("one", "two", backend={"type": "claude_cli", "command": None}, cost_limits=costs))
    wait_until(partial(is_in, daemon, job, "paused"))
    found = daemon.job(job)
    assert found["job"]["cost_usd"] == pytest.approx(0.75)
    assert "max_cost_per_job $0.50" in found["job"]["reason"]
    assert [sheet["state"] for sheet in found["sheets"]] == ["completed", "pending"]
    daemon.mozart("cancel", job)
    found = daemon.job(job)
    assert found["job"]["state"] == "cancelled"
    assert found["job"]["reason"] == "cancelled; it cost $0.75, above max_cost_per_job $0.50", "not why it was paused"


def test_stop_signals_do_not_reach_a_job_that_waits(own_daemon: Daemon, score: Score) -> None:
    """A held job is still there, and still held, after an orderly stop and a start."""
    asked(own_daemon, "hold", "command")
    job = own_daemon.run(score("say hello"))
    assert own_daemon.process
    own_daemon.process.send_signal(signal.SIGTERM)
    own_daemon.process.wait(20)
    own_daemon.start()
    assert state(own_daemon, job) == "queued"
    asked(own_daemon, "limits", "clear", "command")
    assert own_daemon.wait(job)["state"] == "completed"


def test_a_drained_daemon_finishes_what_runs_and_goes_on_with_the_rest_next_time(
    own_daemon: Daemon, score: Score, workspace: Path
) -> None:
    job = own_daemon.run(score("gate go", "write two.txt done"))
    wait_until((workspace / "go").exists)
    assert asked(own_daemon, "daemon", "drain") == {"state": "draining", "running": 1}
    assert own_daemon.mozart("run", score("say hello", name="late"), "--detach").returncode == 1, "nothing new is taken"
    (workspace / "go").open("w").close()
    assert own_daemon.process
    own_daemon.process.wait(20)
    assert not (workspace / "two.txt").exists()
    own_daemon.start()
    assert own_daemon.wait(job)["sheets"] == {"completed": 2}


def test_agents_get_the_variables_of_the_submitter_that_the_daemon_names(
    start_daemon: Callable[..., Daemon], score: Score
) -> None:
    daemon = start_daemon({"submit_env": ["PATH", "SONG_*"]})
    done = daemon.mozart("run", score("env SONG_KEY\nenv OTHER"), env={"SONG_KEY": "C major", "OTHER": "kept back"})
    assert done.returncode == 0, done.stderr
    assert "C major" in done.stdout
    assert "kept back" not in done.stdout


def test_a_job_that_begins_afresh_takes_nothing_from_one_that_goes_on(
    daemon: Daemon, score: Score, workspace: Path
) -> None:
    life = {"archive_on_fresh": True}
    job = daemon.run(score("write old.txt x\ngate go", workspace_lifecycle=life))
    wait_until((workspace / "go").exists)
    again = score("say hello", workspace_lifecycle=life, name="again")
    refused = daemon.mozart("run", again, "--fresh", "--detach")
    assert (refused.returncode, f"{job} is running in" in refused.stderr) == (1, True)
    (workspace / "go").open("w").close()
    daemon.wait(job)
    daemon.wait(daemon.run(again, "--fresh"))
    assert (workspace / "archive" / "1" / "old.txt").exists()
    assert not (workspace / "old.txt").exists()
