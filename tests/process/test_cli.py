"""The verbs, as a person or a script at a terminal meets them: real processes, a real daemon."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.asking import open_gate
from tests.process.daemon import PATIENCE, Daemon, wait_until

Score = Callable[..., Path]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


def documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def raw_logs(daemon: Daemon, *arguments: str) -> bytes:
    command = [daemon.scripts / "mozart", "logs", *arguments]
    return subprocess.run(command, env=daemon.environment, capture_output=True, timeout=PATIENCE, check=True).stdout


# ---- run ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code", "state"), [("say fine", 0, "completed"), ("say oh\nexit 3", 1, "failed")], ids=["good", "bad"]
)
def test_run_shows_the_lines_and_exits_as_the_job_did(
    shared_daemon: Daemon, score: Score, script: str, code: int, state: str
) -> None:
    done = shared_daemon.mozart("run", score(script, retry={"max_retries": 1}))
    assert done.returncode == code, done.stderr
    lines = done.stdout.splitlines()
    assert script.split()[1].split("\n")[0] in lines
    assert lines.index("mozart: the sheet is running") < lines.index(script.split()[1])
    assert f" {state}: 1 {state}" in done.stdout


def test_run_explains_what_failed(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    rules = [{"type": "file_exists", "path": "{workspace}/report.md", "description": "the report is there"}]
    path = score("err boom\nexit 3", "say never", sheet={"dependencies": {2: [1]}}, validations=rules,
                 retry={"max_retries": 1, "max_completion_attempts": 0})  # fmt: skip
    done = shared_daemon.mozart("run", path)
    assert done.returncode == 1
    job = done.stdout.rsplit("mozart logs ", 1)[1].split()[0]
    for words in (
        "sheet 1: E",
        "validation failed: the report is there",
        f"mozart logs {job} --sheet 1 --attempt 1",
        "1 blocked",
    ):
        assert words in done.stdout


def test_run_as_json_is_a_stream_of_documents(shared_daemon: Daemon, score: Score) -> None:
    done = shared_daemon.mozart("run", score("say one", "say two"), "--json")
    *records, end = documents(done.stdout)
    assert (end["type"], end["state"], end["exit_code"]) == ("end", "completed", 0)
    assert {record["line"] for record in records if "line" in record} == {"one", "two"}
    assert [record["type"] for record in records if "type" in record][-1] == "job.completed"


def test_detached_says_the_id_last(shared_daemon: Daemon, score: Score) -> None:
    done = shared_daemon.mozart("run", score("say one", name="A Name"), "--detach")
    job = done.stdout.splitlines()[-1]
    assert job.startswith("a-name-")
    assert documents(shared_daemon.mozart("run", score("say one"), "--detach", "--json").stdout)[0]["job"]
    assert shared_daemon.mozart("wait", job).returncode == 0


def test_ctrl_c_detaches(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    run = shared_daemon.popen("run", score("say begun\ngate go"))
    assert run.stdout
    wait_until(lambda: b"begun" in run.stdout.readline())
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130
    job = err.decode().split("mozart cancel ")[1].split("`")[0]
    assert f"mozart logs -f {job}" in err.decode()
    assert shared_daemon.job(job)["job"]["state"] == "running"
    open_gate(workspace / "go")
    assert shared_daemon.wait(job)["state"] == "completed"


def test_cancelled_exits_3(shared_daemon: Daemon, score: Score) -> None:
    run = shared_daemon.popen("run", score("say begun\nhang"))
    assert run.stdout
    wait_until(lambda: b"begun" in run.stdout.readline())
    job = json.loads(shared_daemon.mozart("list", "--state", "running", "--json").stdout)["jobs"][0]["id"]
    cancelled = shared_daemon.mozart("cancel", job)
    assert cancelled.stdout == f"cancelled {job}: sheet 1\n"
    run.communicate(timeout=PATIENCE)
    assert run.returncode == 3


def test_dry_run_is_the_plan(cold: Daemon, score: Score) -> None:
    path = score("say one", "say two")
    planned = cold.mozart("run", path, "--dry-run", "--json")
    assert planned.stdout == cold.mozart("plan", path, "--json").stdout
    assert json.loads(planned.stdout)["total_sheets"] == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"isolation": {"enabled": True}}, "isolation"), ({"notifications": [{"type": "desktop"}]}, "notifications")],
    ids=["isolation", "notifications"],
)
def test_what_is_not_built_is_refused_by_name(cold: Daemon, score: Score, fields: dict[str, Any], words: str) -> None:
    done = cold.mozart("run", score("say one", **fields))
    assert done.returncode == 2
    assert words in done.stderr
    assert "not available yet" in done.stderr


@pytest.mark.parametrize("option", ["--self-healing", "--escalation"])
def test_options_that_are_not_built_are_refused(cold: Daemon, score: Score, option: str) -> None:
    done = cold.mozart("run", score("say one"), option)
    assert (done.returncode, option in done.stderr) == (2, True)


def test_a_daemon_is_started_when_none_runs(cold: Daemon, score: Score) -> None:
    refused = cold.mozart("run", score("say one"), "--no-start")
    assert refused.returncode == 4
    done = cold.mozart("run", score("say one"))
    assert done.returncode == 0
    assert "mozart: started the daemon (pid " in done.stderr
    assert "started the daemon" not in cold.mozart("run", score("say two")).stderr


# ---- the progress display -------------------------------------------------------------------------------------------


class Terminal:
    """`mozart ARGS` on a terminal of its own; `seen` is all that it was sent."""

    def __init__(self, daemon: Daemon, *arguments: str | Path) -> None:
        self.fd, slave = pty.openpty()
        self.seen = b""
        environment = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        self.process = daemon.popen(*arguments, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)

    def read_until(self, words: bytes) -> None:
        deadline = time.monotonic() + PATIENCE
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self._read()

    def read_to_end(self) -> int:
        while self._read():
            pass
        os.close(self.fd)
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.fd], [], [], PATIENCE)
        try:
            data = os.read(self.fd, 65536) if ready else b""
        except OSError:  # the other end is closed
            data = b""
        self.seen += data
        return bool(data)


def test_a_terminal_shows_what_runs_and_gets_its_cursor_back(
    shared_daemon: Daemon, score: Score, workspace: Path
) -> None:
    path = score("say hello\nnonl typing\ngate go", "say \x1b[2Jnever clear", sheet={"dependencies": {2: [1]}})
    terminal = Terminal(shared_daemon, "run", path)
    terminal.read_until(b"0/2")
    terminal.read_until("▸ 1".encode())
    # The line that is being written is part of the panel until it ends.
    terminal.read_until(b"typing")
    open_gate(workspace / "go")
    assert terminal.read_to_end() == 0
    assert b"[2Jnever" not in terminal.seen
    assert b"never clear" in terminal.seen
    assert terminal.seen.rfind(b"\x1b[?25h") > terminal.seen.rfind(b"\x1b[?25l") >= 0
    assert b"completed" in terminal.seen.splitlines()[-1]


def test_a_terminal_is_whole_after_ctrl_c_and_term(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        terminal = Terminal(shared_daemon, "run", score("gate go"))
        terminal.read_until(b"0/1")
        terminal.process.send_signal(number)
        assert terminal.read_to_end() == code
        assert terminal.seen.rfind(b"\x1b[?25h") > terminal.seen.rfind(b"\x1b[?25l") >= 0
        open_gate(workspace / "go")


# ---- logs -----------------------------------------------------------------------------------------------------------


def test_logs_of_several_sheets_are_prefixed(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("say one\nattempt 1: exit 3", "nonl two", retry={"max_completion_attempts": 0}))
    shared_daemon.wait(job)
    assert set(raw_logs(shared_daemon, job).splitlines()) == {b"[1] one", b"[1.2] one", b"[2] two"}
    assert raw_logs(shared_daemon, job, "--sheet", "1", "--attempt", "2") == b"one\n"
    assert raw_logs(shared_daemon, job, "--sheet", "2", "--raw") == b"two"


def test_logs_select(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("say a\nsay c\nbytes ff000a\nerr b"))
    shared_daemon.wait(job)
    # Two pipes: which is read first is the kernel's affair.
    assert sorted(raw_logs(shared_daemon, job).split(b"\n")) == [b"", b"a", b"b", b"c", b"\xff\x00"]
    assert raw_logs(shared_daemon, job, "--stream", "stderr") == b"b\n"
    assert raw_logs(shared_daemon, job, "--stream", "stdout", "--since", "1h") == b"a\nc\n\xff\x00\n"
    assert len(raw_logs(shared_daemon, job, "--tail", "2").splitlines()) == 2
    assert raw_logs(shared_daemon, job, "--since", "2999-01-01") == b""
    stamped = raw_logs(shared_daemon, job, "--timestamps", "--stream", "stdout").splitlines()
    assert [line.split(b" ", 1)[1] for line in stamped] == [b"a", b"c", b"\xff\x00"]
    times = [line.split(b" ")[0] for line in stamped]
    assert times == sorted(times)
    missing = shared_daemon.mozart("logs", job, "--sheet", "1", "--attempt", "7")
    assert missing.returncode == 1
    assert f"cannot show attempt 7 of sheet 1 of {job}" in missing.stderr


def test_logs_as_json_have_offsets_into_the_log(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("say a\nbytes ff0a\nnonl b"))
    sheet = (shared_daemon.wait(job), shared_daemon.job(job)["sheets"][0])[1]
    *records, end = documents(shared_daemon.mozart("logs", job, "-f", "--json").stdout)
    assert (end["type"], end["job"], end["state"], end["exit_code"]) == ("end", job, "completed", 0)
    log = Path(sheet["attempts"][0]["log"]).read_bytes()
    assert [log[record["offset"] :].split(b"\n")[0].split(b" ", 3)[3] for record in records] == [b"a", b"\xff", b"b"]
    assert records[1]["base64"] == "/w=="
    assert records[2]["partial"] is True


def test_logs_show_the_prompt(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("say one"))
    shared_daemon.wait(job)
    assert b"say one" in raw_logs(shared_daemon, job, "--prompt")
    refused = shared_daemon.mozart("logs", job, "--prompt", "--follow")
    assert refused.returncode == 2
    assert "cannot use --prompt together with --follow" in refused.stderr


def test_a_closed_pipe_ends_it_quietly(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("flood 3000000"))
    shared_daemon.wait(job)
    script = f"'{shared_daemon.scripts}/mozart' logs {job} | head -1"
    done = subprocess.run(["sh", "-c", script], env=shared_daemon.environment, capture_output=True, timeout=PATIENCE)
    assert done.stdout.startswith(b"0000000000 x")
    assert done.stderr == b""


# ---- asking ---------------------------------------------------------------------------------------------------------


def test_status_has_every_sheet_of_a_big_job(shared_daemon: Daemon, tmp_path: Path) -> None:
    score = {
        "name": "big", "workspace": str(tmp_path / "workspace"), "backend": {"type": "command", "command": "cat"},
        "sheet": {"size": 1, "total_items": 4100}, "prompt": {"template": "x"},
    }  # fmt: skip
    path = tmp_path / "big.yaml"
    path.write_text(json.dumps(score))
    job = shared_daemon.run(path, "--start-sheet", "4100")
    shared_daemon.wait(job)
    shown = json.loads(shared_daemon.mozart("status", job, "--json").stdout)
    assert [sheet["n"] for sheet in shown["sheets"]] == list(range(1, 4101))
    text = shared_daemon.mozart("status", job).stdout
    assert "1-4099  skipped" in text


def test_status_watch_ends_with_the_job(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = shared_daemon.run(score("gate go"))
    watch = shared_daemon.popen("status", job, "--watch", "--json")
    assert watch.stdout
    first = json.loads(watch.stdout.readline())
    assert first["job"]["state"] in ("queued", "running")
    open_gate(workspace / "go")
    out, _ = watch.communicate(timeout=PATIENCE)
    assert documents(out.decode())[-1]["job"]["state"] == "completed"
    assert watch.returncode == 0


def test_status_watch_of_everything_begins_with_what_is(shared_daemon: Daemon, score: Score) -> None:
    """Not with all that ever happened."""
    for _ in range(3):
        shared_daemon.wait(shared_daemon.run(score("say hello", name="earlier")))
    watch = shared_daemon.popen("status", "--watch", "--json")
    assert watch.stdout
    shown = [json.loads(watch.stdout.readline())]
    job = shared_daemon.run(score("say hello", name="later"))
    begun = len(shown)
    while not any((one["id"], one["state"]) == (job, "completed") for one in shown[-1]["jobs"]):
        shown.append(json.loads(watch.stdout.readline()))
    assert len(shown) - begun <= 8, "one for each event of this job, at most"
    watch.send_signal(signal.SIGINT)
    watch.wait(PATIENCE)


def test_list_wait_events_and_retry(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("attempt 1: exit 3", name="again", retry={"max_retries": 1}))
    waited = shared_daemon.mozart("wait", job, "--json")
    assert waited.returncode == 1
    assert [one["id"] for one in json.loads(waited.stdout)["jobs"]] == [job]
    failed = json.loads(shared_daemon.mozart("list", "--state", "failed", "--json").stdout)["jobs"]
    assert job in [one["id"] for one in failed]
    assert job in shared_daemon.mozart("list", "--all").stdout
    assert shared_daemon.mozart("retry", job).stdout == f"retrying {job}: sheet 1\n"
    assert shared_daemon.mozart("wait", job).returncode == 0
    types = [event["type"] for event in documents(shared_daemon.mozart("events", job, "-f", "--json").stdout)]
    assert [kind for kind in types if kind in ("job.failed", "job.completed")] == ["job.failed", "job.completed"]


def test_wait_gives_up(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    done, slow = shared_daemon.run(score("say x", name="quick")), shared_daemon.run(score("gate go", name="slow"))
    assert shared_daemon.mozart("wait", slow, "--timeout", "0.05").returncode == 124
    assert shared_daemon.mozart("wait", slow, done, "--any").returncode == 0
    open_gate(workspace / "go")
    assert shared_daemon.mozart("wait", slow, done).returncode == 0


# ---- mistakes -------------------------------------------------------------------------------------------------------


def test_an_unknown_job_is_answered_with_the_nearest(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("say x", name="portrait"))
    shared_daemon.wait(job)
    done = shared_daemon.mozart("status", "protrait", "--json")
    assert done.returncode == 1
    assert done.stderr.startswith("mozart: cannot ")
    assert job in done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "unknown_job"
    assert job in error["message"] + error["hint"]


@pytest.mark.parametrize("verb", ["status", "list", "logs x", "events", "wait x", "cancel x", "retry x"])
def test_without_a_daemon_it_exits_4(cold: Daemon, verb: str) -> None:
    done = cold.mozart(*verb.split(), "--json")
    assert done.returncode == 4
    assert "mozart: cannot reach the daemon" in done.stderr
    assert "hint: " in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "E501"


def test_shells_complete_verbs_and_jobs(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("say x", name="completed"))
    shared_daemon.wait(job)
    script = shared_daemon.mozart("completion", "bash").stdout

    def complete(line: str) -> list[str]:
        asked = f"COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}; _mozart_completion mozart"
        command = ["bash", "-c", f"{script}\n{asked}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""]
        return subprocess.run(command, env=shared_daemon.environment, capture_output=True, text=True).stdout.split()

    assert complete("mozart sta") == ["status"]
    assert job in complete("mozart logs comple")
    assert "--sheet" in complete("mozart logs --sh")
