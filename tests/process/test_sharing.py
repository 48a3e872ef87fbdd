"""Jobs that share a machine and an account: whose limit stops whom and how soon, who begins first, what is told of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests import AGENT
from tests.process.asking import ended, moment, open_gate, outcome, reach, states, submit
from tests.process.daemon import Daemon

Score = Callable[..., Path]

#: Of the scripted agent's command line, as it stands in a score.
AGENT_DIGEST = hashlib.sha256(json.dumps([str(AGENT)]).encode()).hexdigest()[:8]
LIMITED = "err error: HTTP 429 Too Many Requests, retry-after: 600\nexit 1"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


def is_hold_of(event: dict[str, Any], job: str) -> bool:
    return event["type"] == "hold.set" and event["data"]["reason"].startswith(f"{job}:")


def test_a_limit_stops_another_jobs_next_start_within_100_ms(daemon: Daemon, score: Score, workspace: Path) -> None:
    """From the line that the agent prints, while it runs on. Nothing starts after the hold is set; and of two tries on a
    machine that may be busy, one was in time."""
    (daemon.home / "bin" / "claude").symlink_to(AGENT)
    took = []
    for n in range(2):
        account = {"type": "claude_cli", "command": None, "env": {"ANTHROPIC_API_KEY": f"sk-invented-{n}"}}
        first = submit(daemon, score(f"gate go{n}\nlimit\nhang", name=f"first{n}", backend=account))
        reach(workspace / f"go{n}")
        stream = {"parallel": {"enabled": True, "max_concurrent": 1, "fail_fast": False}, "retry": {"max_retries": 1}}
        second = submit(daemon, score(*["say hello"] * 200, name=f"second{n}", backend=account, **stream))
        daemon.wait_for(second, "attempt.finished", sheet=2)
        open_gate(workspace / f"go{n}")
        held = next(event for event in daemon.events() if is_hold_of(event, first))
        record = Path(daemon.job(first)["sheets"][0]["attempts"][0]["log"]).read_bytes()
        printed = re.search(rb"^(\S+) stdout F .*rate_limit_event", record, re.MULTILINE)
        assert printed
        daemon.request("cancel", job=first)
        daemon.request("cancel", job=second)
        ended(daemon, second)
        starts = [event for event in daemon.events(second) if event["type"] == "sheet.running"]
        assert len(starts) >= 3
        assert starts[-1]["id"] < held["id"], "a sheet started after the hold was set"
        took.append(moment(held["time"]) - moment(printed[1].decode()))
    assert min(took) <= 0.1


def test_a_job_of_its_own_neither_obeys_others_limits_nor_sets_any(daemon: Daemon, score: Score) -> None:
    alone = {"honor_other_jobs_rate_limits": False}
    shared = submit(daemon, score(LIMITED, name="shared"))
    daemon.wait_for(shared, "sheet.waiting")
    free = submit(daemon, score("say hello", name="free", circuit_breaker=alone))
    assert ended(daemon, free)["state"] == "completed", "although the backend is held for everybody else"
    daemon.request("limits.clear", scope="command")
    daemon.request("cancel", job=shared)
    limited = submit(daemon, score(LIMITED, name="limited", circuit_breaker=alone))
    daemon.wait_for(limited, "sheet.waiting")
    (held,) = daemon.request("limits")["holds"]
    assert re.fullmatch(r"command/\w+/default#\w+", held["name"])
    anew = score(LIMITED, "say two", name="limited", circuit_breaker=alone)
    assert daemon.mozart("modify", limited, anew).returncode == 0
    assert [hold["name"] for hold in daemon.request("limits")["holds"]] == [held["name"]], "its own, as before"
    assert daemon.job(limited)["sheets"][0]["reason"].startswith(f"hold on {held['name']}: ")
    other = submit(daemon, score("say hello", name="other"))
    assert ended(daemon, other)["state"] == "completed"
    daemon.request("cancel", job=limited)
    ended(daemon, limited)
    assert daemon.request("limits") == {"holds": []}, "a scope of its own is gone with its job"
    joins = submit(daemon, score(LIMITED, name="joins", circuit_breaker=alone))
    daemon.wait_for(joins, "sheet.waiting")
    assert daemon.mozart("modify", joins, score("say hello", name="joins")).returncode == 0
    assert daemon.request("limits") == {"holds": []}, "nor does it have one any more"
    assert ended(daemon, joins)["state"] == "completed"


def test_a_veto_says_when_the_limit_is_over_and_waits_for_a_person(
    start_daemon: Callable[..., Daemon], score: Score
) -> None:
    daemon = start_daemon({"limits": {"resume": "ask"}})
    job = submit(daemon, score(f"attempt 1: {LIMITED.splitlines()[0]}\nattempt 1: exit 1"))
    daemon.wait_for(job, "sheet.waiting")
    shown = daemon.mozart("limits").stdout
    assert "until cleared" in shown
    assert re.search(r"over at (\w+ )?\d\d:\d\d, then wait for a person", shown)
    (sheet,) = daemon.job(job)["sheets"]
    assert sheet["until"] is None, "not at the limit's own end, which is told with the reason"
    assert "wait for a person" in sheet["reason"]
    assert daemon.mozart("limits", "clear", "command").returncode == 0
    assert ended(daemon, job)["state"] == "completed"


def test_a_veto_that_is_taken_back_holds_nothing_any_more(start_daemon: Callable[..., Daemon], score: Score) -> None:
    daemon = start_daemon({"limits": {"resume": "ask"}})
    limited = LIMITED.splitlines()[0].replace("600", "1")
    job = submit(daemon, score(f"attempt 1: {limited}\nattempt 1: exit 1"))
    daemon.wait_for(job, "sheet.waiting")
    (daemon.home / "config.yaml").write_text("{}")
    assert daemon.mozartd("reload").returncode == 0
    assert ended(daemon, job)["state"] == "completed"


def test_the_order_of_queued_jobs_is_what_a_person_says(
    start_daemon: Callable[..., Daemon], score: Score, workspace: Path
) -> None:
    daemon = start_daemon({"max_concurrent_jobs": 1})
    running = submit(daemon, score("gate go", name="running"))
    reach(workspace / "go")
    names = ("a", "b", "c", "d")
    jobs = {name: submit(daemon, score("say hello", name=name)) for name in names}
    assert daemon.mozart("priority", jobs["c"], "high").returncode == 0
    done = daemon.mozart("reorder", jobs["d"], "--first")
    assert done.stdout == f"{jobs['d']} is now first in the queue: {jobs['d']}, {jobs['c']}, {jobs['a']}, {jobs['b']}\n"
    assert daemon.mozart("reorder", jobs["b"], "--before", jobs["a"]).returncode == 0
    begun = daemon.mozart("reorder", running, "--first")
    assert begun.returncode == 1
    assert "has begun" in begun.stderr
    assert daemon.mozart("reorder", jobs["a"]).returncode == 2
    daemon.kill("coordinator")
    open_gate(workspace / "go")
    started = {name: datetime.fromisoformat(ended(daemon, job)["started_at"]) for name, job in jobs.items()}
    assert sorted(names, key=started.__getitem__) == ["d", "c", "b", "a"]


def test_who_asked_for_what_and_why_things_moved_is_an_event(daemon: Daemon, score: Score) -> None:
    fallbacks = [{"command": ["true"], "cli_model": "other", "max_wait": 1}]
    scope = f"command/{AGENT_DIGEST}/default"
    assert daemon.mozart("hold", scope, "--for", "1h", "--reason", "maintenance").returncode == 0
    job = submit(daemon, score("say hello", backend={"fallbacks": fallbacks}))
    assert ended(daemon, job)["state"] == "completed"
    daemon.request("limits.clear", scope="command")
    done = daemon.mozart("events", "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    by_type: dict[str, dict[str, Any]] = {event["type"]: event["data"] for event in told}
    me = by_type["job.queued"]["by"]
    assert me
    assert by_type["asked.hold"] == {
        "by": me,
        "scope": scope,
        "seconds": 3600.0,
        "reason": "maintenance",
    }
    assert by_type["hold.set"]["kind"] == "hand"
    assert by_type["sheet.moved"]["before"] == scope
    assert "is held for 3" in by_type["sheet.moved"]["reason"]
    assert by_type["asked.clear"]["by"] == me
    assert by_type["hold.ended"]["reason"] == "cleared by hand"
    assert [event["id"] for event in told] == sorted((event["id"] for event in told), reverse=True)


def test_a_status_is_of_one_moment(shared_daemon: Daemon, score: Score) -> None:
    """Whatever is going on: no sheet runs without an attempt that does, none has ended before its attempt."""
    job = submit(shared_daemon, score(*["say hello"] * 30, parallel={"enabled": True, "max_concurrent": 6}))
    looks = 0
    while True:
        found = shared_daemon.job(job)
        for sheet in found["sheets"]:
            last = sheet["attempts"][-1]["state"] if sheet["attempts"] else None
            assert (sheet["state"], last) in {("pending", None), ("running", "running"), ("completed", "ended")}, sheet
        counted = sum(sheet["state"] == "completed" for sheet in found["sheets"])
        assert found["job"]["sheets"].get("completed", 0) == counted
        looks += 1
        if found["job"]["state"] == "completed":
            break
    assert looks > 5


def test_a_job_is_let_go_however_close_its_predecessors_end_is(
    shared_daemon: Daemon, score: Score, workspace: Path
) -> None:
    for n in range(3):
        first = submit(shared_daemon, score(f"gate go{n}", name="first"))
        reach(workspace / f"go{n}")
        open_gate(workspace / f"go{n}")
        second = shared_daemon.run(score("say hello", name="second"), "--after", first)
        assert ended(shared_daemon, second)["state"] == "completed"
        assert states(outcome(shared_daemon, first)) == {1: "completed"}
