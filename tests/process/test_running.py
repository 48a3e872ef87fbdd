"""How a score runs: order, width, failures, retries, validations, skips, limits, with real agents and a real daemon."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.process.asking import ended, moment, open_gate, outcome, play, reach, states, submit
from tests.process.daemon import Daemon, is_alive, wait_until

Score = Callable[..., Path]

PARALLEL = {"enabled": True, "max_concurrent": 4, "fail_fast": False}
ONCE = {"max_retries": 1}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


def order(workspace: Path) -> list[int]:
    """In which order the sheets came to write their number."""
    return [int(line) for line in (workspace / "order").read_text().split()]


def count_off(sheets: int) -> list[str]:
    return [f"append order {n}" for n in range(1, sheets + 1)]


def attempts(found: dict[str, Any], n: int = 1) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = found["sheets"][n]["attempts"]
    return result


# ---- order and width ----------------------------------------------------------------------------------------------


def test_without_parallel_one_at_a_time_in_number_order(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    found = play(shared_daemon, score(*count_off(6)))
    assert found["state"] == "completed"
    assert order(workspace) == [1, 2, 3, 4, 5, 6]
    spans = [
        (moment(attempts(found, n)[0]["started_at"]), moment(attempts(found, n)[0]["ended_at"])) for n in range(1, 7)
    ]
    assert all(before[1] <= after[0] for before, after in pairwise(spans)), "none began before the last had ended"


def test_dependencies_come_first_whatever_their_numbers(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    needs = {1: [4], 2: [1, 3], 3: [4], 5: [2]}
    found = play(shared_daemon, score(*count_off(5), sheet={"dependencies": needs}, parallel=PARALLEL))
    assert found["state"] == "completed"
    came = order(workspace)
    assert sorted(came) == [1, 2, 3, 4, 5]
    for n, prerequisites in needs.items():
        assert all(came.index(p) < came.index(n) for p in prerequisites)


def test_a_free_place_is_filled_at_once(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    """No batch barrier: one slow sheet, and the others pass it through the second place one after the other."""
    parallel = {"enabled": True, "max_concurrent": 2}
    job = submit(shared_daemon, score("gate slow\nappend order 1", *count_off(5)[1:], parallel=parallel))
    for n in (2, 3, 4, 5):
        shared_daemon.wait_for(job, "sheet.completed", n)
    assert order(workspace) == [2, 3, 4, 5]
    assert states(outcome(shared_daemon, job))[1] == "running"
    open_gate(workspace / "slow")
    assert ended(shared_daemon, job)["state"] == "completed"


def test_never_more_at_once_than_allowed(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    """The first three meet at their gates, however slowly they start."""
    gates = [workspace / str(n) for n in (1, 2, 3)]
    scripts = [*[f"gate {gate.name}" for gate in gates], *["sleep 0.05"] * 6]
    job = submit(shared_daemon, score(*scripts, parallel={"enabled": True, "max_concurrent": 3}))
    for gate in gates:
        reach(gate)
    for gate in gates:
        open_gate(gate)
    found = outcome(shared_daemon, ended(shared_daemon, job)["id"])
    changes = []
    for n in found["sheets"]:
        (one,) = attempts(found, n)
        changes += [(moment(one["started_at"]), 1), (moment(one["ended_at"]), -1)]
    width = widest = 0
    for _, change in sorted(changes):
        width += change
        widest = max(widest, width)
    assert widest == 3


def test_a_fan_out_runs_each_instance_after_its_own(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    """Stages 1, 2 (three instances), 3 (three), 4: instance i of 3 needs instance i of 2 alone."""
    scripts = [
        "append order 1", "gate second", "append order 3", "append order 4",
        "append order 5", "append order 6", "append order 7", "append order 8",
    ]  # fmt: skip
    sheet = {"total_items": 4, "fan_out": {2: 3, 3: 3}, "dependencies": {2: [1], 3: [2], 4: [3]}}
    job = submit(shared_daemon, score(*scripts, sheet=sheet, parallel={"enabled": True, "max_concurrent": 8}))
    for n in (6, 7):
        shared_daemon.wait_for(job, "sheet.completed", n)
    found = outcome(shared_daemon, job)
    assert [(s["stage"], s["instance"]) for s in found["sheets"].values()] == [
        (1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3), (4, 1),
    ]  # fmt: skip
    assert (states(found)[5], states(found)[8]) == ("pending", "pending")
    open_gate(workspace / "second")
    assert ended(shared_daemon, job)["state"] == "completed"
    assert order(workspace)[-2:] == [5, 8]


def test_the_pause_between_sheets_holds_no_slot(shared_daemon: Daemon, score: Score) -> None:
    job = submit(shared_daemon, score("say 1", "say 2", pause_between_sheets_seconds=0.6))
    other = play(shared_daemon, score("say quick", name="other"))
    assert other["state"] == "completed"
    assert ended(shared_daemon, job)["state"] == "completed"
    found = outcome(shared_daemon, job)
    gap = moment(attempts(found, 2)[0]["started_at"]) - moment(attempts(found, 1)[0]["ended_at"])
    assert 0.55 <= gap < 5


# ---- failures -----------------------------------------------------------------------------------------------------


def test_what_depends_on_a_failure_is_blocked_and_the_rest_goes_on(shared_daemon: Daemon, score: Score) -> None:
    needs = {2: [1], 3: [2], 4: []}
    path = score("exit 3", "say 2", "say 3", "say 4", sheet={"dependencies": needs}, parallel=PARALLEL, retry=ONCE)
    found = play(shared_daemon, path)
    assert states(found) == {1: "failed", 2: "blocked", 3: "blocked", 4: "completed"}
    assert found["state"] == "failed"
    assert found["reason"].startswith("sheet 1 failed: ")
    assert found["sheets"][3]["reason"] == "sheet 1 failed"
    assert [len(attempts(found, n)) for n in (1, 2, 3, 4)] == [1, 0, 0, 1]


def test_fail_fast_starts_nothing_new_and_lets_what_runs_finish(
    shared_daemon: Daemon, score: Score, workspace: Path
) -> None:
    path = score(
        "gate one\nsay 1", "gate two\nexit 3", "say 3", retry=ONCE, parallel={"enabled": True, "max_concurrent": 2}
    )
    job = submit(shared_daemon, path)
    reach(workspace / "one")
    open_gate(workspace / "two")
    shared_daemon.wait_for(job, "sheet.failed", 2)
    assert states(outcome(shared_daemon, job)) == {1: "running", 2: "failed", 3: "blocked"}
    open_gate(workspace / "one")
    assert ended(shared_daemon, job)["state"] == "failed"
    assert states(outcome(shared_daemon, job)) == {1: "completed", 2: "failed", 3: "blocked"}


def test_a_missing_program_fails_before_any_retry(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("say never", backend={"command": ["no-such-program"]}))
    (attempt,) = attempts(found)
    assert (found["state"], attempt["code"]) == ("failed", "E505")
    assert "no-such-program" in attempt["message"]
    assert attempt["hint"]


# ---- attempts -----------------------------------------------------------------------------------------------------


def test_a_failure_is_tried_again_after_a_growing_delay(shared_daemon: Daemon, score: Score) -> None:
    path = score(
        "attempt 1: exit 3\nattempt 2: exit 4\nsay done", retry={"base_delay_seconds": 0.2, "exponential_base": 3}
    )
    found = play(shared_daemon, path)
    assert found["state"] == "completed"
    assert [one["exit_code"] for one in attempts(found)] == [3, 4, 0]
    gaps = [moment(b["started_at"]) - moment(a["ended_at"]) for a, b in pairwise(attempts(found))]
    assert gaps[0] >= 0.19
    assert gaps[1] >= 0.59


def test_attempts_end_with_their_number(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("exit 3", retry={"max_retries": 2}))
    assert found["state"] == "failed"
    assert [one["k"] for one in attempts(found)] == [1, 2]
    assert all(one["code"] for one in attempts(found))


def exists(*names: str) -> list[dict[str, Any]]:
    return [{"type": "file_exists", "path": f"{{workspace}}/{name}"} for name in names]


def test_half_of_the_rules_met_gives_a_completion_attempt(shared_daemon: Daemon, score: Score) -> None:
    path = score("attempt 1: write one\nattempt 2: write two\nattempt 2: echo", validations=exists("one", "two"))
    found = play(shared_daemon, path)
    assert found["state"] == "completed"
    assert [(one["mode"], one["verdict"]) for one in attempts(found)] == [
        ("normal", "incomplete"),
        ("completion", "ok"),
    ]
    prompt = shared_daemon.request("prompt", job=found["id"], sheet=1)["text"]
    assert "two" in prompt.partition("begin")[0], "what is missing comes before the prompt itself"
    assert all(rule["passed"] for rule in found["sheets"][1]["validations"])


def test_completion_attempts_are_bounded_and_full_ones_follow(shared_daemon: Daemon, score: Score) -> None:
    path = score("write one", validations=exists("one", "two"), retry={"max_retries": 2, "max_completion_attempts": 2})
    found = play(shared_daemon, path)
    assert found["state"] == "failed"
    assert [one["mode"] for one in attempts(found)] == ["normal", "completion", "completion", "normal"]
    assert found["sheets"][1]["reason"].startswith("E201")


def test_below_the_threshold_a_full_attempt_follows(shared_daemon: Daemon, score: Score) -> None:
    path = score(
        "write one\nattempt 2: write two", validations=exists("one", "two"), retry={"completion_threshold_percent": 51}
    )
    assert [one["mode"] for one in attempts(play(shared_daemon, path))] == ["normal", "normal"]


def test_an_exit_code_does_not_outweigh_what_was_checked(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("write one\nexit 9", validations=exists("one"), retry=ONCE))
    assert found["state"] == "completed"
    assert attempts(found)[0]["exit_code"] == 9
    assert "9" in found["sheets"][1]["reason"], "marked so"
    found = play(shared_daemon, score("exit 0", validations=exists("never"), retry=ONCE, name="other"))
    assert found["state"] == "failed"
    assert attempts(found)[0]["exit_code"] == 0


def test_a_stage_that_fails_stops_the_later_ones(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    rules = [*exists("never"), {"type": "command_succeeds", "command": "touch {workspace}/ran", "stage": 2}]
    found = play(
        shared_daemon, score("say 1", validations=rules, retry={"max_retries": 1, "max_completion_attempts": 0})
    )
    assert found["state"] == "failed"
    assert not (workspace / "ran").exists()


def test_a_silent_agent_is_stopped_as_stalled(shared_daemon: Daemon, score: Score) -> None:
    stale = {"enabled": True, "idle_timeout_seconds": 0.5}
    found = play(shared_daemon, score("say one\nhang", stale_detection=stale, retry=ONCE))
    (attempt,) = attempts(found)
    assert (attempt["verdict"], attempt["code"]) == ("stalled", "E006")


def test_a_timeout_of_its_own(shared_daemon: Daemon, score: Score) -> None:
    backend = {"timeout_seconds": 600, "timeout_overrides": {2: 0.5}}
    found = play(shared_daemon, score("say quick", "say slow\nhang", backend=backend, retry=ONCE))
    assert states(found) == {1: "completed", 2: "failed"}
    assert attempts(found, 2)[0]["code"] == "E001"


def test_a_backend_of_its_own(shared_daemon: Daemon, score: Score) -> None:
    backends = {2: {"type": "command", "command": ["sh", "-c", "echo other agent; cat > /dev/null"]}}
    found = play(shared_daemon, score("say the agent", "say never", sheet={"backends": backends}))
    assert found["state"] == "completed"
    assert shared_daemon.mozart("logs", found["id"], "--sheet", "2", "--raw").stdout == "other agent\n"


# ---- skips --------------------------------------------------------------------------------------------------------


def test_an_expression_skips_and_lets_dependents_start(shared_daemon: Daemon, score: Score) -> None:
    conditions = {
        2: "sheets[1].status == 'completed'",
        3: "sheets[1].output == 'never'",
        4: "'magic' in sheets[1].output",
    }
    sheet = {"skip_when": conditions, "dependencies": {2: [1], 3: [2], 4: [3]}}
    found = play(shared_daemon, score("say magic", "say 2", "say 3", "say 4", sheet=sheet))
    assert states(found) == {1: "completed", 2: "skipped", 3: "completed", 4: "skipped"}
    assert found["state"] == "completed"
    assert found["sheets"][2]["reason"] == "skip_when: sheets[1].status == 'completed'"
    assert not attempts(found, 2)


def test_a_command_skips_by_its_exit_code(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    commands = {
        1: {"command": "test -d {workspace}", "description": "the workspace is there"},
        2: {"command": "test -e {workspace}/never"},
        3: {"command": "sleep 60", "timeout_seconds": 0.3},
    }
    found = play(shared_daemon, score(*count_off(3), sheet={"skip_when_command": commands}))
    assert states(found) == {1: "skipped", 2: "completed", 3: "completed"}
    assert found["sheets"][1]["reason"] == "the workspace is there"
    assert order(workspace) == [2, 3]
    assert "skip_when_command" in attempts(found, 3)[0]["message"], "it says that the question was not answered"


# ---- what sheets know of each other -------------------------------------------------------------------------------


def test_outputs_and_files_reach_the_next_prompt(shared_daemon: Daemon, score: Score) -> None:
    path = score(
        "say the first said this\nwrite notes.md noted by the first", "echo",
        prompt={"variables": {}},
        cross_sheet={"auto_capture_stdout": True, "capture_files": ["{{ workspace }}/notes.md"], "lookback_sheets": 1},
    )  # fmt: skip
    document = path.read_text().replace("end\\n", "end\\n{{ previous_outputs }}{{ previous_files }}")
    path.write_text(document)
    found = play(shared_daemon, path)
    assert found["state"] == "completed"
    shown = shared_daemon.mozart("logs", found["id"], "--sheet", "2", "--prompt").stdout
    assert "the first said this" in shown
    assert "noted by the first" in shown
    assert "the first said this" in shared_daemon.mozart("logs", found["id"], "--sheet", "2", "--raw").stdout


def test_what_is_too_large_to_assign_fails_with_a_hint(shared_daemon: Daemon, score: Score) -> None:
    """Outputs of six sheets that are more than a frame holds; the others are not concerned."""
    path = score(
        *["flood 3000000"] * 6, "say never",
        backend={"max_output_capture_bytes": 3_000_000},
        cross_sheet={"auto_capture_stdout": True, "max_output_chars": 3_000_000, "lookback_sheets": 0},
    )  # fmt: skip
    found = play(shared_daemon, path)
    assert states(found) == {**dict.fromkeys(range(1, 7), "completed"), 7: "failed"}
    (attempt,) = attempts(found, 7)
    assert attempt["code"] == "E602"
    assert "cross_sheet" in attempt["hint"]


# ---- cancel -------------------------------------------------------------------------------------------------------


def test_a_job_is_cancelled_whatever_its_sheets_do(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    """One runs, one waits for its next attempt, one has not begun."""
    needs = {3: [1]}
    path = score("gate one", "exit 3", "say 3", sheet={"dependencies": needs}, parallel=PARALLEL,
                 retry={"base_delay_seconds": 60, "max_delay_seconds": 60})  # fmt: skip
    job = submit(shared_daemon, path)
    reach(workspace / "one")
    shared_daemon.wait_for(job, "sheet.waiting", 2)
    agent = attempts(outcome(shared_daemon, job), 1)[0]["agent_pid"]
    assert shared_daemon.request("cancel", job=job) == {"job": job, "sheets": [1, 2, 3]}
    assert ended(shared_daemon, job)["state"] == "cancelled"
    assert states(outcome(shared_daemon, job)) == {1: "cancelled", 2: "cancelled", 3: "cancelled"}
    assert not is_alive(agent)
    done = shared_daemon.mozart("cancel", job)
    assert done.returncode == 0
    assert done.stdout == f"{job} is already cancelled\n"


@pytest.mark.parametrize("state", ["running", "waiting", "pending"])
def test_one_sheet_is_cancelled_and_the_rest_goes_on(
    shared_daemon: Daemon, score: Score, workspace: Path, state: str
) -> None:
    script = {"running": "gate one", "waiting": "exit 3", "pending": "say 1"}[state]
    needs = {2: [1], **({1: [3]} if state == "pending" else {})}
    path = score(script, "say 2", "gate three", sheet={"dependencies": needs}, parallel=PARALLEL,
                 retry={"base_delay_seconds": 60, "max_delay_seconds": 60})  # fmt: skip
    job = submit(shared_daemon, path)
    reach(workspace / "three")
    if state == "waiting":
        shared_daemon.wait_for(job, "sheet.waiting", 1)
    elif state == "running":
        reach(workspace / "one")
    assert shared_daemon.request("cancel", job=job, sheets=[1]) == {"job": job, "sheets": [1]}
    shared_daemon.wait_for(job, "sheet.cancelled", 1)
    open_gate(workspace / "three")
    ended(shared_daemon, job)
    assert states(outcome(shared_daemon, job)) == {1: "cancelled", 2: "blocked", 3: "completed"}


# ---- retry --------------------------------------------------------------------------------------------------------


def mended(n: int) -> str:
    """Fails in its first attempt, whoever asks for the next one."""
    return f"append order {n}\nattempt 1: exit 3"


def test_what_failed_and_was_blocked_runs_again(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    path = score("append order 1", mended(2), "append order 3", sheet={"dependencies": {3: [2]}}, retry=ONCE)
    found = play(shared_daemon, path)
    assert states(found) == {1: "completed", 2: "failed", 3: "blocked"}
    assert shared_daemon.request("retry", job=found["id"]) == {"job": found["id"], "sheets": [2, 3]}
    assert ended(shared_daemon, found["id"])["state"] == "completed"
    again = outcome(shared_daemon, found["id"])
    assert order(workspace) == [1, 2, 2, 3]
    assert [one["k"] for one in attempts(again, 2)] == [1, 2]
    assert [shared_daemon.request("prompt", job=found["id"], sheet=2, attempt=k)["attempt"] for k in (1, 2)] == [1, 2]


def test_only_some_run_again(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    needs = {3: [1], 4: [2]}
    path = score(mended(1), mended(2), *count_off(4)[2:], sheet={"dependencies": needs}, parallel=PARALLEL, retry=ONCE)
    found = play(shared_daemon, path)
    assert states(found) == {1: "failed", 2: "failed", 3: "blocked", 4: "blocked"}
    assert shared_daemon.request("retry", job=found["id"], sheets=[1])["sheets"] == [1, 3]
    assert ended(shared_daemon, found["id"])["state"] == "failed"
    assert states(outcome(shared_daemon, found["id"])) == {1: "completed", 2: "failed", 3: "completed", 4: "blocked"}
    done = shared_daemon.mozart("retry", found["id"], "--sheet", "4")
    assert done.returncode == 1
    assert "it needs sheet 2, which is failed" in done.stderr


def test_from_a_sheet_on(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    found = play(shared_daemon, score(*count_off(4)))
    done = shared_daemon.mozart("retry", found["id"], "--from", "3")
    assert done.returncode == 0, done.stderr
    assert ended(shared_daemon, found["id"])["state"] == "completed"
    assert order(workspace) == [1, 2, 3, 4, 3, 4]


def test_what_runs_cannot_be_retried(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = submit(shared_daemon, score("gate one"))
    done = shared_daemon.mozart("retry", job)
    assert done.returncode == 1
    assert "cannot retry" in done.stderr
    open_gate(workspace / "one")
    ended(shared_daemon, job)
    assert "nothing in it failed" in shared_daemon.mozart("retry", job).stderr


# ---- limits -------------------------------------------------------------------------------------------------------


def test_a_limit_holds_the_scope_and_spends_no_retry(start_daemon: Callable[..., Daemon], score: Score) -> None:
    daemon = start_daemon(workers=1)
    limited = "attempt 1: err 429 Too Many Requests, please try again in 5 seconds\nattempt 1: exit 1\nsay done"
    path = score(limited, "say 2", parallel=PARALLEL | {"max_concurrent": 1}, retry=ONCE)
    job = submit(daemon, path)
    held = daemon.wait_for(job, "sheet.waiting", 1)
    assert daemon.status()["holds"] == 1
    assert states(outcome(daemon, job)) == {1: "waiting", 2: "pending"}, "nothing starts on that scope"
    assert held["data"]["until"]
    assert ended(daemon, job)["state"] == "completed"
    found = outcome(daemon, job)
    assert [one["verdict"] for one in attempts(found)] == ["rate_limited", "ok"]
    assert moment(attempts(found)[1]["started_at"]) - moment(attempts(found)[0]["ended_at"]) >= 4.5
    wait_until(lambda: daemon.status()["holds"] == 0)


def test_a_hold_that_is_cleared_keeps_nobody_waiting(start_daemon: Callable[..., Daemon], score: Score) -> None:
    """Neither those who were kept from starting nor the one that met the limit."""
    daemon = start_daemon(workers=1)
    limited = "attempt 1: err 429 Too Many Requests, please try again in 2 hours\nattempt 1: exit 1\nsay done"
    job = submit(daemon, score(limited, "say 2", retry=ONCE, sheet={"dependencies": {}}))
    daemon.wait_for(job, "sheet.waiting", 1)
    assert daemon.status()["holds"] == 1
    cleared = daemon.request("limits.clear", scope="command")["holds"]
    assert [hold["waiting"] for hold in cleared] == [2]
    assert ended(daemon, job)["state"] == "completed"


def test_a_limit_holds_no_other_scope(start_daemon: Callable[..., Daemon], score: Score) -> None:
    daemon = start_daemon(workers=1)
    backends = {2: {"type": "command", "command": ["true"], "cli_model": "other"}}
    path = score("err 429 Too Many Requests\nexit 1", "say 2", sheet={"backends": backends}, parallel=PARALLEL)
    job = submit(daemon, path)
    daemon.wait_for(job, "sheet.waiting", 1)
    daemon.wait_for(job, "sheet.completed", 2)
    assert daemon.request("cancel", job=job)["sheets"] == [1]
    assert ended(daemon, job)["state"] == "cancelled"
