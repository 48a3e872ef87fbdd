"""What a worker finds out after an agent's end, and before its start: rules, collected files, commands that skip."""

from __future__ import annotations

import os

import pytest

from tests import AGENT
from tests.process.daemon import wait_until, works_of
from tests.process.worker import Peer

# ---- rules ----------------------------------------------------------------------------------------------------------


def test_rules_run_and_say_what_they_saw(peer: Peer) -> None:
    peer.workspace("old").write_text("as it was")
    report = peer.play(
        "write report.md all is well\nappend report.md Score: 9/10",
        validations=[
            {"type": "file_exists", "path": "{workspace}/report.md"},
            {"type": "file_modified", "path": "report.md"},
            {"type": "content_contains", "path": "report.md", "pattern": "well"},
            {"type": "content_regex", "path": "report.md", "pattern": r"(?m)^Score: (\d+)/10$"},
            {"type": "command_succeeds", "command": "test -s {workspace}/report.md"},
            {"type": "file_exists", "path": "never", "condition": "sheet_num == 2"},
        ],
    )
    assert (report["verdict"], report["applicable"]) == ("ok", 5)
    assert [each["index"] for each in report["validations"] if each["passed"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"type": "file_exists", "path": "report.md"}, "E201", "report.md does not exist in "),
        ({"type": "file_modified", "path": "old"}, "E202", "old was not modified by this attempt"),
        (
            {"type": "content_contains", "path": "old", "pattern": "new"},
            "E202",
            "text 'new' not found in old (9 bytes)",
        ),
        ({"type": "content_regex", "path": "old", "pattern": "n.*w"}, "E202", "pattern 'n.*w' not found in old"),
        ({"type": "content_contains", "path": ".", "pattern": "x"}, "E202", "not a regular file"),
        ({"type": "command_succeeds", "command": "echo no; exit 3"}, "E203", "exit status 3: no"),
        ({"type": "command_succeeds", "command": "kill -SEGV $$"}, "E203", "SIGSEGV"),
        ({"type": "command_succeeds", "command": "sleep 300", "timeout_seconds": 0.2}, "E204", "timed out after 0.2s"),
        ({"type": "file_exists", "path": "../../etc/passwd"}, "E601", "outside the workspace"),
        ({"type": "file_exists", "path": "link"}, "E601", "outside the workspace"),
        ({"type": "file_exists", "path": "old", "condition": "sheet_num < 'a'"}, "E604", "condition"),
    ],
)
def test_a_rule_that_fails_says_why(peer: Peer, fields: dict[str, object], code: str, words: str) -> None:
    peer.workspace("old").write_text("as it was")
    peer.workspace("link").symlink_to("/etc/passwd")
    report = peer.play("say done", validations=[fields])
    (found,) = report["validations"]
    assert (found["passed"], found["code"]) == (False, code)
    assert words in found["detail"]
    assert (report["verdict"], report["code"]) == ("incomplete", code)


def test_a_failed_stage_stops_the_later_ones(peer: Peer) -> None:
    rules = [
        {"type": "command_succeeds", "command": f"exit {code}", "stage": stage}
        for code, stage in ((0, 2), (1, 1), (0, 1))
    ]
    report = peer.play("say done", validations=rules)
    assert [(each["index"], each["passed"]) for each in report["validations"]] == [(1, False), (2, True)]
    assert report["applicable"] == 3


def test_rules_run_whatever_the_exit_code(peer: Peer) -> None:
    report = peer.play("write made yes\nexit 4", validations=[{"type": "file_exists", "path": "made"}])
    assert (report["verdict"], report["exit_code"]) == ("failed", 4)
    assert [each["passed"] for each in report["validations"]] == [True]


def test_a_file_may_come_late(peer: Peer) -> None:
    gate = peer.workspace("gate")
    os.mkfifo(gate)
    attempt = peer.assign(
        "say done",
        validations=[
            {"type": "command_succeeds", "command": "cat gate"},
            {"type": "file_exists", "path": "late", "stage": 2, "retry_count": 10, "retry_delay_ms": 100},
        ],
    )
    with open(gate, "w"):
        pass
    peer.workspace("late").write_text("")
    assert [each["passed"] for each in peer.finish(attempt)["validations"]] == [True, True]


def test_a_hostile_pattern_does_not_stop_the_worker(peer: Peer) -> None:
    peer.workspace("text").write_text("a" * 50)
    attempt = peer.assign("say done", validations=[{"type": "content_regex", "path": "text", "pattern": r"(a+)+$b"}])
    # The worker's loop turns while the pattern is looked for.
    assert peer.play("say quick", sheet=2)["verdict"] == "ok"
    wait_until(lambda: works_of(peer.pid))
    peer.cancel(attempt)
    assert peer.finish(attempt)["verdict"] == "cancelled"
    wait_until(lambda: not works_of(peer.pid))


def test_a_commands_leftovers_are_swept(peer: Peer) -> None:
    command = f"{AGENT} 'setsid 300' 'spawn 300'"
    report = peer.play("say done", validations=[{"type": "command_succeeds", "command": command}])
    assert report["verdict"] == "ok"
    assert peer.agents() == []


def test_files_are_collected_for_later_sheets(peer: Peer) -> None:
    capture = {"capture_files": ["out/{{ sheet_num }}*.txt", "../*"], "max_output_chars": 4}
    peer.workspace("out").mkdir()
    report = peer.play("write out/1a.txt hello\nwrite out/2.txt no", capture=capture)
    assert report["captured"] == {"out/1a.txt": "llo\n"}
    assert peer.play("write out/1b.txt x\nexit 1", capture=capture)["captured"] == {}


def test_a_name_of_odd_bytes_does_not_lose_the_report(peer: Peer) -> None:
    os.close(os.open(os.fsencode(peer.workspace("odd")) + b"\xff.txt", os.O_CREAT, 0o600))
    report = peer.play("say done", capture={"capture_files": ["*.txt"], "max_output_chars": 4})
    assert (report["verdict"], report["captured"]) == ("ok", {"odd?.txt": ""})


def test_a_report_too_big_for_a_frame_arrives_shortened(peer: Peer) -> None:
    fields = {"backend": {"max_output_capture_bytes": 20_000_000}}
    report = peer.play("endless 19000000\nnonl end", **fields)
    assert (report["verdict"], report["bytes"]) == ("ok", 19_000_003)
    assert report["tail"].endswith("xend")


# ---- skipping -------------------------------------------------------------------------------------------------------


def test_exit_0_of_the_skip_command_skips(peer: Peer) -> None:
    skip = {"command": "test -d {workspace}", "description": "there already", "timeout_seconds": 10}
    report = peer.play("say never", skip_command=skip)
    assert (report["verdict"], report["message"], report["started_at"]) == ("skipped", "there already", None)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("exit 1", ""),
        ("sleep 300", "timed out after 0.2s"),
        ("no-such-program", "exit status 127"),
        ("kill $$", "SIGTERM"),
    ],
)
def test_anything_else_runs_and_says_so(peer: Peer, command: str, words: str) -> None:
    report = peer.play("say ran", skip_command={"command": command, "description": None, "timeout_seconds": 0.2})
    assert (report["verdict"], report["tail"]) == ("ok", "ran\n")
    assert words in report["message"]
    assert bool(report["message"]) is bool(words)
