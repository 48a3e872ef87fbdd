"""A worker from the coordinator's side of the socket: what it runs, stops, reports and survives."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest

from tests import AGENT
from tests.process.daemon import children_of, describe, is_alive, title_of, wait_until
from tests.process.worker import Peer, has_spoken, is_ok, seconds_taken, unhurried

# ---- an attempt -----------------------------------------------------------------------------------------------------


def test_an_attempt_is_started_logged_and_reported(peer: Peer) -> None:
    assert (peer.hello["role"], peer.hello["worker"], peer.hello["slots"]) == ("worker", "boot-1-1", 4)
    attempt = peer.assign("say one\nerr two\nnonl three")
    started = peer.until("started", attempt)
    report = peer.finish(attempt)
    assert started["agent_pid"] > 0
    assert report["started_at"] == started["at"] <= report["ended_at"]
    assert (report["verdict"], report["code"], report["exit_code"], report["signal"]) == ("ok", "", 0, None)
    assert (report["bytes"], report["lines"], report["tail"]) == (13, 3, "one\nthree")
    assert (peer.log(), peer.log(stream=b"stderr")) == ([b"one", b"three"], [b"two"])
    with open(peer.paths.attempt_prompt("song-1", 1, 1)) as file:
        assert file.read().startswith("begin\nsay one\n")


def test_a_failure_says_how_it_ended(peer: Peer) -> None:
    report = peer.play("err it broke\nexit 3")
    assert (report["verdict"], report["code"], report["exit_code"]) == ("failed", "E009", 3)
    assert report["evidence"] == "it broke"
    crashed = peer.play("signal SEGV", sheet=2)
    assert (crashed["verdict"], crashed["code"], crashed["signal"]) == ("crashed", "E003", signal.SIGSEGV)


def test_a_flood_is_kept_whole(peer: Peer) -> None:
    report = peer.play("flood 5000000 100")
    assert (report["bytes"], report["lines"]) == (5_000_000, 50_000)
    assert [int(line[:10]) for line in peer.log()] == list(range(50_000))


def test_the_agent_gets_its_prompt_its_session_and_nothing_of_ours(peer: Peer) -> None:
    report = peer.play("ids\nfds\necho")
    ids, *rest = report["tail"].splitlines()
    pid, group, session = ids.split()
    assert pid == group == session != str(peer.pid)
    assert [line.split()[0] for line in rest[:3]] == ["0", "1", "2"]
    assert rest[3] == "begin"
    assert rest[-1] == "end"


def test_the_agents_environment(start_peer: Callable[..., Peer]) -> None:
    peer = start_peer(environment={"CLAUDECODE": "1", "CITY": "Salzburg", "PIANO": "daemon's"})
    names = [
        "CLAUDECODE",
        "CITY",
        "PIANO",
        "GREETING",
        "MOZART_JOB_ID",
        "MOZART_SHEET",
        "MOZART_ATTEMPT",
        "MOZART_WORKSPACE",
    ]
    report = peer.play(
        "\n".join(f"env {name}" for name in names),
        environment={"PIANO": "submitter's"},
        backend={"env": {"GREETING": "from ${CITY}, $CITY"}},
    )
    workspace = str(peer.home / "workspace")
    expected = ["", "Salzburg", "submitter's", "from Salzburg, $CITY", "song-1", "1", "1", workspace]
    assert report["tail"].split("\n")[:-1] == expected
    missing = peer.play(sheet=2, backend={"env": {"GREETING": "from ${NOWHERE}"}})
    assert (missing["verdict"], missing["code"]) == ("failed", "E302")
    assert "NOWHERE" in missing["message"]


def test_secrets_of_the_environment_are_masked(start_peer: Callable[..., Peer]) -> None:
    peer = start_peer(environment={"PIANO_API_KEY": "correct-horse-battery"})
    report = peer.play("env PIANO_API_KEY")
    assert "correct" not in report["tail"]
    assert b"correct" not in peer.log()[0]


def test_signals_the_worker_handles_are_the_agents_to_handle(peer: Peer) -> None:
    """What a process ignores or blocks, its children would too."""
    report = peer.play(backend={"command": ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]})
    # From 32 on they are libc's: its posix_spawn, which make uses, leaves one of them ignored.
    standard = (1 << 31) - 1
    assert [int(line.split()[1], 16) & standard for line in report["tail"].splitlines()] == [0, 0]


def test_the_report_stays_small_when_the_output_is_not(peer: Peer) -> None:
    report = peer.play("endless 3000000", backend={"max_output_capture_bytes": 100})
    assert report["bytes"] == 3_000_000
    assert report["tail"] == "x" * 100


def test_a_log_that_cannot_be_written_ends_the_attempt(peer: Peer) -> None:
    report = peer.play("say lost\nhang", log="/dev/full")
    assert (report["verdict"], report["code"]) == ("failed", "E403")
    # A log is made, never opened: what is there belongs to somebody else. (A full disk: tests/torture/test_disk.py.)
    assert "File exists" in report["message"]
    assert peer.play("say fine", sheet=2)["verdict"] == "ok"


# ---- what cannot start ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "verdict", "code", "words"),
    [
        ({"backend": {"command": ["no-such-program"]}}, "missing", "E505", "no-such-program"),
        ({"backend": {"command": ["./agent"]}}, "missing", "E505", "no such file"),
        ({"backend": {"command": ["/etc/passwd"]}}, "missing", "E505", "permission denied"),
        ({"backend": {"working_directory": "/nowhere"}}, "failed", "E603", "/nowhere"),
        ({"workspace": "/etc/passwd"}, "failed", "E601", "it is a file"),
        ({"workspace": "/proc/nowhere"}, "failed", "E601", "cannot create"),
        ({"prompt": {"template": "{{ shet_num }}", "variables": {}}}, "failed", "E302", "shet_num"),
        ({"prompt": {"template": "{% if %}", "variables": {}}}, "failed", "E304", "syntax"),
        ({"backend": {"system_prompt_file": "/nowhere/system"}}, "failed", "E303", "/nowhere/system"),
        ({"backend": {"command": []}}, "failed", "E301", "command"),
    ],
)
def test_what_cannot_start_says_why(peer: Peer, fields: dict[str, object], verdict: str, code: str, words: str) -> None:
    report = peer.play(**fields)
    assert (report["verdict"], report["code"], report["started_at"]) == (verdict, code, None)
    assert words in report["message"]
    assert report["validations"] == []


def test_an_undefined_name_is_answered_with_the_nearest(peer: Peer) -> None:
    assert "sheet_num" in peer.play(prompt={"template": "{{ shet_num }}", "variables": {}})["hint"]


def test_a_script_without_an_interpreter_line(peer: Peer) -> None:
    program = peer.workspace("program")
    program.write_text("echo hello\n")
    program.chmod(0o755)
    report = peer.play(backend={"command": [str(program)]})
    assert (report["verdict"], report["code"]) == ("missing", "E505")
    assert "#!" in report["hint"]


# ---- ends that must be made -----------------------------------------------------------------------------------------


def test_a_time_limit_is_kept(peer: Peer) -> None:
    report = unhurried(lambda n, pace: peer.play("say here\nhang", sheet=n, timeout_seconds=0.3 * pace), has_spoken)
    assert (report["verdict"], report["code"], report["validations"]) == ("timeout", "E001", [])
    assert report["tail"] == "here\n"


def test_silence_from_the_start_and_after_a_word(peer: Peer) -> None:
    silent = peer.play("hang", idle_seconds=0.3)
    assert (silent["verdict"], silent["code"]) == ("stalled", "E006")
    assert silent["message"] == "no output in its first 0.3s (stale_detection.idle_timeout_seconds)"
    stalled = unhurried(lambda n, pace: peer.play("say one\nhang", sheet=n + 1, idle_seconds=0.3 * pace), has_spoken)
    assert (stalled["verdict"], stalled["code"]) == ("stalled", "E006")
    assert "no output for 0." in stalled["message"]


def test_an_agent_that_talks_is_not_idle(peer: Peer) -> None:
    report = unhurried(lambda n, pace: peer.play(f"tick 8 {0.1 * pace}", sheet=n, idle_seconds=0.6 * pace), is_ok)
    assert report["verdict"] == "ok"


def test_an_agent_that_ignores_term_is_killed(peer: Peer) -> None:
    attempt = peer.assign("ignore TERM\nsay ready\nhang", watched=True)
    peer.until_said(attempt)
    peer.cancel(attempt)
    report = peer.finish(attempt)
    assert (report["verdict"], report["signal"], report["survivors"]) == ("cancelled", signal.SIGKILL, 0)
    assert peer.agents() == []


@pytest.mark.parametrize("end", ["exit 0", "hang"])
def test_what_escapes_is_killed_after_any_end(peer: Peer, end: str) -> None:
    attempt = peer.assign(f"setsid 300\nspawn 300\nsay ready\n{end}", watched=True)
    peer.until_said(attempt)
    peer.cancel(attempt)
    report = peer.finish(attempt)
    assert report["verdict"] in ("ok", "cancelled")
    assert report["survivors"] == 0
    assert peer.agents() == []


def test_an_escape_without_a_trace_in_its_environment(peer: Peer) -> None:
    command = "env -i setsid sh -c 'sleep 300 & echo $!'; echo away"
    report = peer.play(backend={"command": command})
    pid = int(report["tail"].split()[0])
    assert (report["verdict"], report["survivors"]) == ("ok", 0)
    assert not is_alive(pid)


def test_one_attempts_sweep_leaves_anothers_strays(peer: Peer) -> None:
    other = peer.assign("setsid 300\nsay ready\nhang", sheet=1, watched=True)
    peer.until_said(other)
    assert peer.play("setsid 300", sheet=2)["survivors"] == 0
    left = peer.agents()
    assert len(left) == 2, f"the agent and its stray, not {[describe(pid) for pid in left]}; {peer.printed()}"
    peer.cancel(other)
    peer.finish(other)
    assert peer.agents() == []


def test_a_stray_of_an_attempt_that_has_ended_is_found_later(start_peer: Callable[..., Peer]) -> None:
    peer = start_peer(beat=0.05)
    for name in ("away", "gate"):
        os.mkfifo(peer.workspace(name))
    other = peer.assign("say other\nhang", sheet=2, watched=True)
    peer.until_said(other)
    # It gets rid of its mark and its tag, so that the sweep leaves it while another attempt runs; then it takes the mark on
    # again.
    mark = f"MOZART_STATE={peer.paths.state} MOZART_ATTEMPT_ID=song-1:1:1"
    inner = f"echo > away; cat gate; {mark} exec sleep 300"
    shed = "import os, resource as r; r.setrlimit(r.RLIMIT_RTTIME, (r.RLIM_INFINITY,) * 2)"
    code = f"{shed}; os.execv('/bin/sh', ['sh', '-c', '{inner}'])"
    stray = f'env -i setsid {sys.executable} -c "{code}" >/dev/null 2>&1'
    report = peer.play(backend={"command": f"cd {peer.workspace('.')}; {stray} & cat away"})
    assert (report["survivors"], strays(peer)) == (1, 2), "counted, because nobody knows whose it is"
    with open(peer.workspace("gate"), "w"):
        pass
    # The agent of the other attempt alone.
    wait_until(lambda: strays(peer) == 1)
    peer.cancel(other)
    peer.finish(other)


def strays(peer: Peer) -> int:
    """How many processes the worker has adopted or started, its fork server excepted."""
    return len([pid for pid in children_of(peer.pid) if title_of(pid) != "mozart-helper"])


def test_an_agent_that_closes_its_output_lives_on(peer: Peer) -> None:
    report = peer.play("say last\ncloseout\nsleep 0.3\nwrite proof yes")
    assert report["verdict"] == "ok"
    assert peer.workspace("proof").read_text() == "yes\n"


def test_leftovers_that_hold_the_pipe_are_not_waited_for(peer: Peer) -> None:
    assert seconds_taken(lambda: peer.play("say x\nsetsid 300\nspawn 300")) < 5


def test_many_orphans_are_reaped_while_the_agent_runs(start_peer: Callable[..., Peer]) -> None:
    peer = start_peer(beat=0.05)
    attempt = peer.assign("\n".join(["setsid 0"] * 20) + "\nsay ready\nhang", watched=True)
    peer.until_said(attempt)
    wait_until(lambda: strays(peer) == 1)
    peer.cancel(attempt)
    peer.finish(attempt)


# ---- a limit, a session, a result -----------------------------------------------------------------------------------


def claude(peer: Peer) -> dict[str, object]:
    """Fields of an assignment whose `claude` is the scripted agent."""
    directory = peer.home / "path"
    directory.mkdir(exist_ok=True)
    (directory / "claude").symlink_to(AGENT)
    backend = {"type": "claude_cli", "output_format": "stream-json", "skip_permissions": True, "disable_mcp": True}
    return {"backend": backend, "environment": {"PATH": f"{directory}:{os.environ['PATH']}"}}


INIT = '{"type":"system","subtype":"init","session_id":"s-1","model":"m"}'
LIMIT = '{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","rateLimitType":"five_hour","resetsAt":%d}}'
RESULT = (
    '{"type":"result","subtype":"success","is_error":false,"result":"done","num_turns":1,"total_cost_usd":0.5,'
    '"usage":{"input_tokens":3,"output_tokens":4}}'
)


def test_a_limit_stops_the_agent_at_once(peer: Peer) -> None:
    resets = 4_000_000_000
    attempt = peer.assign(f"say {INIT}\nsay {LIMIT % resets}\nhang", **claude(peer))
    session, limit = peer.until("noted", attempt)["event"], peer.until("noted", attempt)["event"]
    report = peer.finish(attempt)
    assert (session["kind"], session["session_id"], limit["kind"]) == ("session", "s-1", "limited")
    assert (limit["limit_kind"], limit["until"] is None) == ("five_hour", False)
    assert (report["verdict"], report["code"]) == ("rate_limited", "E104")
    assert report["limit"]["kind"] == "five_hour"
    assert (report["session_id"], report["model"]) == ("s-1", "m")


def test_a_result_brings_cost_and_tokens(peer: Peer) -> None:
    report = peer.play(f"say {INIT}\nsay {RESULT}", **claude(peer))
    assert (report["verdict"], report["cost_usd"]) == ("ok", 0.5)
    assert report["tokens"] == {"input": 3, "output": 4, "cache_read": 0, "cache_write": 0}


def test_a_spool_is_read_while_it_grows_and_leaves_nothing_whatever_happens(peer: Peer) -> None:
    attempt = peer.assign(f"say {INIT}\nhang", **claude(peer))
    peer.until("noted", attempt)
    assert sorted(os.listdir(os.path.join(peer.paths.logs, "song-1"))) == [".mozart-logs", "1.1.log", "1.1.prompt"]
    peer.cancel(attempt)
    peer.finish(attempt)
    assert peer.log() == [INIT.encode()]


# ---- cancel, in every phase -----------------------------------------------------------------------------------------


def until_running(peer: Peer, word: str) -> None:
    wait_until(lambda: any(word in describe(pid) for pid in peer.agents()))


def test_cancel_during_the_skip_command(peer: Peer) -> None:
    attempt = peer.assign(skip_command={"command": "sleep 301", "description": None, "timeout_seconds": 60})
    until_running(peer, "301")
    peer.cancel(attempt, "not now")
    report = peer.finish(attempt)
    assert (report["verdict"], report["message"], report["started_at"]) == ("cancelled", "not now", None)


def test_cancel_during_a_rules_command(peer: Peer) -> None:
    attempt = peer.assign("say done", validations=[{"type": "command_succeeds", "command": "sleep 302"}])
    until_running(peer, "302")
    peer.cancel(attempt)
    report = peer.finish(attempt)
    assert (report["verdict"], report["validations"]) == ("cancelled", [])


def test_cancel_while_a_rule_waits_for_a_file(peer: Peer) -> None:
    rules = [{"type": "file_exists", "path": "late", "retry_count": 10, "retry_delay_ms": 5000}]
    attempt = peer.assign("say done", validations=rules)
    wait_until(lambda: peer.log() == [b"done"] and not peer.agents() if os.path.exists(
        peer.paths.attempt_log("song-1", 1, 1)) else False)  # fmt: skip
    peer.cancel(attempt)
    assert peer.finish(attempt)["verdict"] == "cancelled"


def test_cancel_before_anything_has_begun(peer: Peer) -> None:
    attempt = peer.assign("write started yes")
    peer.cancel(attempt)
    report = peer.finish(attempt)
    assert report["verdict"] == "cancelled"
    assert peer.agents() == []


def test_cancel_of_what_does_not_run_disturbs_nothing(peer: Peer) -> None:
    peer.cancel("song-1:9:1")
    assert peer.play("say fine")["verdict"] == "ok"
