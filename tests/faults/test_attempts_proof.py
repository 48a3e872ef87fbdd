"""B1, B9: done is what was done by this attempt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.asking import play
from tests.process.daemon import Daemon

Score = Callable[..., Path]

ONCE = {"max_retries": 1}
RULES = [{"type": "file_exists", "path": "out.txt"}]
SURE = [*RULES, {"type": "command_succeeds", "command": "test -f {workspace}/out.txt"}]


@pytest.fixture
def leftovers(tmp_path: Path) -> Path:
    """What the job before left in the workspace."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "out.txt").write_text("of the first run\n")
    (tmp_path / "plain.sh").write_text("#!/bin/sh\necho hello\n")
    return workspace


def test_B01_an_agent_that_did_not_work_is_not_done(
    shared_daemon: Daemon, score: Score, leftovers: Path, tmp_path: Path
) -> None:
    commands: dict[str, Any] = {
        "misspelt string": "./agnt.sh {prompt_file}",
        "misspelt argv": ["agnt-of-mine", "{prompt_file}"],
        "misspelt file": ["sh", "agnt.sh"],
        "not executable": "./plain.sh",
        "not executable argv": ["./plain.sh"],
        "placeholder": 'sh -c "cat {promptfile}"',
        "fails": ["sh", "-c", "exit 3"],
        "script": ["sh", "-c", "echo; no-such-agent"],
        "interpreter": ["env", "no-such-interpreter", "x"],
        "killed": ["sh", "-c", "kill -9 $$"],
    }
    for name, command in commands.items():
        for rules in (RULES, SURE):
            found = play(shared_daemon, score("x", backend={"command": command}, validations=rules, retry=ONCE))
            assert found["state"] == "failed", name
    assert "nothing shows that this attempt did it" in found["sheets"][1]["reason"]


def test_B01_what_it_made_true_itself_is_done(
    shared_daemon: Daemon, score: Score, leftovers: Path, tmp_path: Path
) -> None:
    rules = [
        *RULES,
        {"type": "file_exists", "path": "new.txt"},
        {"type": "content_contains", "path": "out.txt", "pattern": "second"},
    ]
    # The file of the first rule was there, that of the second was not, and of the third the text was not.
    for script in ("write new.txt x\nwrite out.txt second\nexit 3",):
        assert play(shared_daemon, score(script, validations=rules, retry=ONCE))["state"] == "completed"
    # What it made in its first attempt is its own in the second.
    split = "attempt 1: write more.txt\nattempt 1: exit 3\nattempt 2: write most.txt\nattempt 2: exit 3"
    more = [{"type": "file_exists", "path": "more.txt"}, {"type": "file_exists", "path": "most.txt"}]
    assert play(shared_daemon, score(split, validations=more, retry={"max_retries": 2}))["state"] == "completed"
    # An ending of 0 is judged as ever.
    assert play(shared_daemon, score("say done", validations=RULES, retry=ONCE))["state"] == "completed"


def test_B01_a_persons_retry_looks_anew(shared_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    path = score("attempt 1: write out.txt\nexit 3", validations=[*RULES, *_named("never")], retry=ONCE)
    found = play(shared_daemon, path)
    assert found["state"] == "failed"
    (tmp_path / "workspace" / "never").write_text("by hand")
    assert shared_daemon.mozart("retry", found["id"]).returncode == 0
    (again,) = shared_daemon.request("wait", jobs=[found["id"]], timeout=20)["jobs"]
    assert again["state"] == "failed"


def _named(name: str) -> list[dict[str, str]]:
    return [{"type": "file_exists", "path": name}]


def test_B01_run_says_that_an_earlier_job_left_results(shared_daemon: Daemon, score: Score, leftovers: Path) -> None:
    done = shared_daemon.mozart("run", score("say done", validations=[*RULES, *_named("no.txt")]), "--detach")
    assert done.returncode == 0
    assert "out.txt" in done.stderr
    assert "no.txt" not in done.stderr
    other = score("say done", validations=_named("no.txt"), name="other")
    assert "holds" not in shared_daemon.mozart("run", other, "--detach").stderr


# ---- Claude in text mode --------------------------------------------------------------------------------------------


def claude(daemon: Daemon, out: str, err: str = "", code: int = 1) -> None:
    stand_in = daemon.scripts / "claude"
    stand_in.unlink(missing_ok=True)
    stand_in.write_text(f"#!/bin/sh\ncat >/dev/null\ncat <<'E'\n{out}\nE\nprintf '%s' '{err}' >&2\nexit {code}\n")
    stand_in.chmod(0o755)


RESULT = json.dumps(
    {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "result": "Two of three."}
)


@pytest.mark.parametrize(("form", "answer"), [("text", "I did two of three."), ("json", RESULT)])
def test_B09_an_answer_and_exit_1_is_done_with_issues(
    calm_daemon: Daemon, score: Score, leftovers: Path, form: str, answer: str
) -> None:
    claude(calm_daemon, answer)
    backend = {"type": "claude_cli", "command": None, "output_format": form}

    def played(*rules: dict[str, str]) -> tuple[str, str, str]:
        found = play(calm_daemon, score("x", backend=backend, validations=list(rules), retry=ONCE))
        attempt = found["sheets"][1]["attempts"][-1]
        return found["state"], attempt["verdict"], attempt["message"]

    state, verdict, message = played()
    assert (state, verdict) == ("failed", "incomplete")
    assert "answered, but exited with status" in message
    assert played(*RULES)[0] == "completed"
    assert played(*_named("no.txt"))[:2] == ("failed", "incomplete")


@pytest.mark.parametrize(
    ("out", "err"), [("", ""), ("API Error: 400 bad", ""), ("Error: no such thing", ""), ("x", "error: unknown option")]
)
def test_B09_an_error_is_none(calm_daemon: Daemon, score: Score, out: str, err: str) -> None:
    claude(calm_daemon, out, err)
    backend = {"type": "claude_cli", "command": None, "output_format": "text"}
    found = play(calm_daemon, score("x", backend=backend, retry=ONCE))
    assert found["sheets"][1]["attempts"][-1]["verdict"] == "failed"
