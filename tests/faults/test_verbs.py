"""Verbs as people type them: several jobs at once, a job by its workspace, hints that work when typed, what `list` tells."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from cli.attached import Notices
from cli.board import Board
from cli.commands import status
from cli.main import run
from ipc.messages import Chunk
from tests.process.asking import open_gate, submit
from tests.process.daemon import PATIENCE, Daemon

Score = Callable[..., Path]
#: A command line in this process, as `mozart` runs it: exit code, stdout, stderr.
Mozart = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mozart(calm_daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Mozart:
    for name, value in calm_daemon.environment.items():
        monkeypatch.setenv(name, value)

    def call(*words: str | Path) -> tuple[int, str, str]:
        code = run([str(word) for word in words])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


def later(daemon: Daemon, path: Path) -> str:
    """A job that stays queued."""
    return submit(daemon, path, at=time.time() + 3600)


@pytest.mark.parametrize("ended", ["completed", "failed", "cancelled"])
def test_D08_the_hint_about_a_job_that_has_ended_works(
    calm_daemon: Daemon, mozart: Mozart, score: Score, ended: str
) -> None:
    script, rules = ("exit 3" if ended == "failed" else "say x"), [{"type": "command_succeeds", "command": "true"}]
    path = score(script, validations=[] if ended == "failed" else rules, retry={"max_retries": 0})
    job = later(calm_daemon, path) if ended == "cancelled" else submit(calm_daemon, path)
    if ended == "cancelled":
        calm_daemon.request("cancel", job=job)
    assert calm_daemon.wait(job)["state"] == ended
    code, _, said = mozart("pause", job)
    assert code == 1
    assert f"cannot pause {job}: it {'is already' if ended == 'cancelled' else 'has already'} {ended}" in said
    hint = said.partition("`mozart ")[2].partition("`")[0]
    assert mozart(*shlex.split(hint))[0] == 0, hint
    calm_daemon.wait(job)


# ---- several jobs ----------------------------------------------------------------------------------------------------


def test_D12_several_jobs_are_each_answered(calm_daemon: Daemon, mozart: Mozart, score: Score) -> None:
    a, b, c = (later(calm_daemon, score("say x")) for _ in range(3))
    assert mozart("pause", a, b)[:2] == (0, f"paused {a}\npaused {b}\n")
    code, out, said = mozart("resume", a, "nobody", b)
    assert (code, out) == (1, f"resumed {a}\nresumed {b}\n")
    assert "cannot find a job 'nobody'" in said
    code, out, _ = mozart("cancel", a, "nobody", b, "--json")
    first, unknown, second = json.loads(out)["jobs"]
    assert (code, first, second) == (1, {"job": a, "sheets": [1]}, {"job": b, "sheets": [1]})
    assert (unknown["job"], unknown["error"]["code"]) == ("nobody", "unknown_job")
    assert json.loads(mozart("cancel", c, "--json")[1]) == {"job": c, "sheets": [1]}, "one job answers as ever"
    assert mozart("cancel", a, b, a)[:2] == (0, f"{a} is already cancelled\n{b} is already cancelled\n")
    assert mozart("retry", a, b)[:2] == (0, f"retrying {a}: sheet 1\nretrying {b}: sheet 1\n")


def test_D12_all_jobs_and_those_in_a_state(calm_daemon: Daemon, mozart: Mozart, score: Score) -> None:
    a, b, c = (later(calm_daemon, score("say x")) for _ in range(3))
    mozart("pause", b)
    assert mozart("cancel", "--state", "paused")[:2] == (0, f"cancelled {b}: sheet 1\n")
    assert mozart("pause", "--all")[:2] == (0, f"paused {c}\npaused {a}\n")
    assert mozart("resume", "--all")[:2] == (0, f"resumed {c}\nresumed {a}\n")
    assert json.loads(mozart("cancel", "--all", "--json")[1]) == {
        "jobs": [{"job": c, "sheets": [1]}, {"job": a, "sheets": [1]}]
    }
    assert mozart("cancel", "--all")[:2] == (0, "no job is queued or running or paused\n")
    assert json.loads(mozart("cancel", "--state", "queued", "--json")[1]) == {"jobs": []}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cancel", "cannot cancel: no job is named"),
        ("pause", "cannot pause: no job is named"),
        ("resume", "cannot resume: no job is named"),
        ("cancel a --all", "cannot use job ids together with --all"),
        ("cancel --all --state queued", "cannot use --all together with --state"),
        ("cancel --state completed", "'completed' is not one of 'queued', 'running', 'paused'"),
        ("cancel a b --sheet 1", "cannot use --sheet with several jobs"),
        ("retry a b --from 2", "cannot use --from with several jobs"),
        ("logs a b --prompt", "cannot use --prompt with several jobs"),
        ("logs -f a b --raw", "cannot use --raw together with -f together with several jobs"),
    ],
)
def test_D12_what_makes_no_sense_for_several_is_refused(mozart: Mozart, line: str, said: str) -> None:
    code, _, error = mozart(*line.split())
    assert (code, said in error) == (2, True), error


def test_D12_several_logs_come_as_one_each_line_behind_its_job(
    calm_daemon: Daemon, score: Score, tmp_path: Path
) -> None:
    one = submit(calm_daemon, score("say a\ngate first\nsay b", name="one"))
    two = submit(calm_daemon, score("say c", "say d\nexit 3", name="two", retry={"max_retries": 0}))
    following = calm_daemon.popen("logs", "-f", one, two, "nobody")
    calm_daemon.wait(two)
    open_gate(tmp_path / "workspace" / "first")
    out, said = following.communicate(timeout=PATIENCE)
    assert following.returncode == 1, "the second one failed"
    assert set(out.decode().split("\n")) >= {f"[{one}] a", f"[{one}] b", f"[{two}:1] c", f"[{two}:2] d"}
    assert b"cannot find a job 'nobody'" in said
    shown = calm_daemon.mozart("logs", one, two)
    assert (shown.returncode, sorted(shown.stdout.splitlines())) == (0, sorted(out.decode().splitlines()))
    records = [json.loads(line) for line in calm_daemon.mozart("logs", "-f", one, two, "--json").stdout.splitlines()]
    assert {record["job"] for record in records if record.get("type") == "end"} == {one, two}
    raw = calm_daemon.mozart("logs", one, two, "--raw").stdout
    assert raw.index("a\n") < raw.index("c\n")


# ---- a job by its workspace ------------------------------------------------------------------------------------------


def test_D19_a_job_is_found_by_its_workspace(calm_daemon: Daemon, mozart: Mozart, score: Score, tmp_path: Path) -> None:
    a, b = (later(calm_daemon, score("say x", name=name)) for name in ("one", "two"))
    other = later(calm_daemon, score("say x", name="two", workspace=str(tmp_path / "other")))
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "workspace")
    for words, job in (
        (("--workspace", tmp_path / "workspace"), b),
        (("--workspace", link), b),
        (("one", "--workspace", f"{link}/"), a),
        (("two", "--workspace", link), b),
        (("two", "--workspace", tmp_path / "other"), other),
    ):
        code, out, said = mozart("status", *words, "--json")
        assert (code, said, json.loads(out)["job"]["id"]) == (0, "", job)
    mozart("pause", a, b)
    assert mozart("resume", "one", "--workspace", link)[:2] == (0, f"resumed {a}\n")
    assert mozart("resume", "--workspace", link)[:2] == (0, f"resumed {b}\n")
    for words in (("--workspace", tmp_path / "nowhere"), ("three", "--workspace", link)):
        for verb in ("status", "resume"):
            code, _, said = mozart(verb, *words)
            assert (code, "with the workspace" in said) == (1, True), said


@pytest.mark.parametrize("verb", ["status", "resume"])
def test_D19_the_hint_says_what_became_of_w(calm_daemon: Daemon, mozart: Mozart, score: Score, verb: str) -> None:
    """As headers of old scores have it."""
    path = score("say x", name="song")
    job = later(calm_daemon, path)
    code, _, said = mozart(verb, job, "-w", path.parent / "workspace")
    assert code == 2
    assert ("-w is --watch" in said) == (verb == "status")
    assert (
        mozart(*shlex.split(said.partition("hint: ")[2].partition("`mozart ")[2].partition("`")[0]), "--json")[0] == 0
    ), said
    code, _, said = mozart("status", "-w", path.parent / "workspace")
    assert (code, f"mozart status --workspace {path.parent / 'workspace'}" in said) == (2, True)


# ---- what is told ----------------------------------------------------------------------------------------------------


def test_D09_a_list_says_when_a_job_starts(calm_daemon: Daemon, mozart: Mozart, score: Score) -> None:
    job = later(calm_daemon, score("say x"))
    at_once = submit(calm_daemon, score("say x", name="now"))
    calm_daemon.wait(at_once)
    rows = {line.split()[0]: line for line in mozart("list", "--all")[1].splitlines()}
    assert re.search(r"starts at (?:[-\d]+ )?\d\d:\d\d:\d\d \(in (?:1h00m|59m\d\ds)\)$", rows[job])
    assert "starts at" not in rows[at_once]
    assert "\nstarts at " in mozart("status", job)[1]
    found = {one["id"]: one["starts_at"] for one in json.loads(mozart("list", "--all", "--json")[1])["jobs"]}
    assert found[job].endswith("Z")
    assert found[at_once] is None


def test_D09_a_plan_in_order_has_no_waves(mozart: Mozart, score: Score) -> None:
    path = score("say a", "say b", "say c")
    _, out, _ = mozart("plan", path)
    assert "in order: each after the one before" in out
    assert "WAVE" not in out
    assert [one["wave"] for one in json.loads(mozart("plan", path, "--json")[1])["sheets"]] == [1, 2, 3]
    assert "WAVE" in mozart("plan", score("say a", "say b", sheet={"dependencies": {2: [1]}}))[1]


# ---- scores and agents -----------------------------------------------------------------------------------------------


def test_D14_dots_lead_out_of_where_a_link_leads(
    mozart: Mozart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the kernel and for whoever changes into that directory; a linked file is where it is named, as for compose."""
    deep = tmp_path / "real" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "beside").mkdir()
    text = "name: x\nworkspace: ../ws\nbackend: {type: command, command: [cat]}\nsheet: {size: 1, total_items: 1}\n"
    (deep / "x.yaml").write_text(f"{text}prompt: {{template: x}}\n")
    (tmp_path / "link").symlink_to(deep)
    (tmp_path / "beside" / "x.yaml").symlink_to(deep / "x.yaml")
    (tmp_path / "real" / "y.yaml").write_text((deep / "x.yaml").read_text().replace("../ws", "ws"))
    monkeypatch.chdir(tmp_path)

    def workspace(*words: str) -> str:
        return str(json.loads(mozart("plan", *words, "--json")[1])["workspace"])

    assert workspace("link/x.yaml") == workspace("real/deep/x.yaml") == str(tmp_path / "real" / "ws")
    assert workspace("beside/x.yaml") == str(tmp_path / "ws")
    assert workspace("link/../y.yaml") == str(tmp_path / "real" / "ws")
    assert workspace("beside/x.yaml", "--workspace", "link/../ws") == str(tmp_path / "real" / "ws")
    (tmp_path / "real" / "ws").symlink_to(deep)
    assert workspace("link/x.yaml") == str(tmp_path / "real" / "ws"), "the workspace's own name stays"
    monkeypatch.chdir(tmp_path / "link")
    assert workspace("x.yaml") == str(tmp_path / "real" / "ws")


@pytest.mark.parametrize("command", ["\"printf 'a\\0b'\"", '[printf, "a\\0b"]'])
def test_D14_a_nul_in_a_command_is_refused_in_words(mozart: Mozart, tmp_path: Path, command: str) -> None:
    path = tmp_path / "nul.yaml"
    path.write_text(
        f"name: x\nbackend: {{type: command, command: {command}}}\nsheet: {{size: 1, total_items: 1}}\n"
        "prompt: {template: x}\n"
    )
    code, out, said = mozart("validate", path)
    assert code == 1
    (error,) = [line for line in (out + said).splitlines() if "E301 error" in line]
    assert "backend.command must not contain a NUL character" in error


def test_D08_a_script_without_its_interpreter_says_so(calm_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    """The kernel says "No such file or directory" of a file that is there."""
    jobs = []
    for name, text in (("crlf", "#!/bin/sh\r\necho hello\r\n"), ("gone", "#!/usr/bin/nothing-3 -u\necho hello\n")):
        script = tmp_path / f"an {name}.sh"
        script.write_bytes(text.encode())
        script.chmod(0o755)
        path = score("", name=name, backend={"command": [str(script)]}, retry={"max_retries": 0})
        jobs.append((script, submit(calm_daemon, path)))
    attempts = []
    for _, job in jobs:
        calm_daemon.wait(job)
        attempts.append(calm_daemon.job(job)["sheets"][0]["attempts"][0])
    (crlf, _), (gone, _) = jobs
    assert [one["code"] for one in attempts] == ["E505", "E505"]
    assert attempts[0]["message"] == f"cannot start {crlf}: its first line ends in CR (a file from Windows)"
    assert attempts[1]["message"] == f"cannot start {gone}: its interpreter /usr/bin/nothing-3 -u is not there"
    subprocess.run(["sh", "-c", attempts[0]["hint"].partition(": ")[2]], check=True)
    assert crlf.read_bytes() == b"#!/bin/sh\necho hello\n"


def test_D14_what_became_of_an_attempt_is_said_after_its_lines() -> None:
    """Lines come another way than events, here after both of them, in two chunks."""
    notices = Notices(Board("song-1", 2))
    for n, kind in enumerate(("sheet.running", "sheet.failed")):
        event = {"type": kind, "time": f"2026-11-24T06:00:0{n}Z", "sheet": 1, "attempt": 1, "data": {}}
        notices.add(event, now=0.0)
    chunk = cast("Chunk", {"sheet": 1, "attempt": 1})
    assert notices.before(chunk, now=0.01) == ["sheet 1 of 2 is running"]
    assert notices.before(chunk, now=0.08) == []
    assert notices.take(0.12) == [], "lines have just come"
    other = cast("Chunk", {"sheet": 2, "attempt": 1})
    assert notices.before(other, now=0.13) == []
    assert notices.take(0.2) == ["sheet 1 of 2 failed"]


@pytest.mark.parametrize(
    ("reason", "code", "message", "rules", "why"),
    [
        ("E203 tests pass: exit 1", "E203", "tests pass: exit 1", ["tests pass"], "E203 tests pass: exit 1"),
        ("retrying: it printed nothing", "E006", "it printed nothing", [], "retrying: it printed nothing"),
        ("", "E203", "tests pass: exit 1", ["tests pass", "lint"], "E203 tests pass: exit 1; validation failed: lint"),
        ("paused by hand", "E004", "its job was paused", [], "paused by hand"),
        ("after sheet 1", "E009", "it exited with 3", [], "after sheet 1; E009 it exited with 3"),
    ],
)
def test_D14_why_does_not_repeat_itself(reason: str, code: str, message: str, rules: list[str], why: str) -> None:
    attempts = [{"code": code, "message": message}]
    unmet = [{"type": "command_succeeds", "description": rule, "passed": False, "detail": ""} for rule in rules]
    sheet = {"state": "waiting", "reason": reason, "until": None, "attempts": attempts, "validations": unmet}
    assert status.why(sheet, 0.0) == why
