"""D07: an exit code means the same for every verb, and the table in `--help` is what happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.exits import BY_VERB
from cli.main import run
from cli.verbs import VERBS
from tests.process.daemon import Daemon

#: What is typed, and its exit code; DONE, FAILED and PAUSED are jobs, GOOD, WARNED and BAD scores.
ROWS = [
    ("run GOOD", 0), ("run GOOD --detach", 0), ("run FAILS", 1), ("run BAD", 2), ("run NOWHERE", 2),
    ("status", 0), ("status DONE", 0), ("status FAILED", 0), ("status nobody", 1),
    ("list", 0), ("list --state running", 0), ("list --state asleep", 2),
    ("logs DONE", 0), ("logs -f DONE", 0), ("logs -f FAILED", 1), ("logs -f PAUSED", 3), ("logs nobody", 1),
    ("logs DONE --tail x", 2),
    ("events DONE", 0), ("events nobody", 1),
    ("wait DONE", 0), ("wait FAILED", 1), ("wait DONE PAUSED", 3), ("wait DONE FAILED PAUSED", 1),
    ("wait QUEUED --timeout 0", 124), ("wait DONE QUEUED --timeout 0", 124), ("wait DONE QUEUED --any", 0), ("wait nobody", 1),
    ("pause PAUSED", 0), ("pause DONE", 1), ("pause nobody", 1),
    ("resume DONE", 1), ("resume nobody", 1),
    ("cancel CANCELLED", 0), ("cancel DONE", 1), ("cancel nobody", 1),
    ("retry DONE", 1), ("retry nobody", 1),
    ("modify DONE GOOD", 1), ("modify PAUSED BAD", 2), ("modify nobody GOOD", 1),
    ("priority PAUSED high", 0), ("priority PAUSED soon", 2), ("priority nobody 4", 1),
    ("reorder nobody --first", 1), ("reorder QUEUED", 2),
    ("limits", 0), ("limits clear nothing", 1), ("limits what", 2),
    ("hold /", 1), ("hold codex_cli --for soon", 2),
    ("group", 0), ("group set", 2),
    ("gc --dry-run", 0), ("daemon dance", 2),
    ("validate GOOD", 0), ("validate WARNED", 0), ("validate BAD", 1), ("validate NOWHERE", 2),
    ("plan GOOD", 0), ("plan WARNED", 0), ("plan BAD", 2), ("plan UNDEFINED", 2), ("plan NOWHERE", 2),
    ("schema", 0), ("backends list", 0), ("backends check nobody", 1), ("backends dance", 2),
    ("completion bash", 0), ("completion tcsh", 2),
]  # fmt: skip


def test_D07_every_verb_and_outcome_has_its_code(
    calm_daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process, as `mozart` runs it: seventy interpreters would take most of a minute to start."""
    words = {**scores(tmp_path), **jobs(calm_daemon, tmp_path)}
    for name, value in calm_daemon.environment.items():
        monkeypatch.setenv(name, value)
    wrong = []
    for line, expected in ROWS:
        code = run([words.get(word, word) for word in line.split()])
        said = capfd.readouterr()
        if code != expected:
            wrong.append((line, expected, code, said.err or said.out))
    assert not wrong, "\n".join(map(str, wrong))


def scores(folder: Path) -> dict[str, str]:
    def write(name: str, text: str) -> str:
        path = folder / f"{name}.yaml"
        path.write_text(text)
        return str(path)

    sheet = "sheet: {size: 1, total_items: 1}\nbackend: {type: command, command: [%s]}\nprompt: {template: 'x'}\n"
    plain = f"name: exits\nvalidations: [{{type: command_succeeds, command: 'true'}}]\n{sheet}"
    return {
        "GOOD": write("good", plain % "cat"),
        "WARNED": write("warned", f"name: exits\n{sheet}" % "cat"),
        "FAILS": write(
            "fails",
            (plain % "cat").replace("'true'", "'false'") + "retry: {max_retries: 0, max_completion_attempts: 0}\n",
        ),
        "BAD": write("bad", plain % "cat" + "colour: red\n"),
        "UNDEFINED": write("undefined", (plain % "cat").replace("'x'", "'{{ nobody }}'")),
        "NOWHERE": str(folder / "nowhere.yaml"),
    }


def jobs(daemon: Daemon, folder: Path) -> dict[str, str]:
    """One job in each state."""
    files = scores(folder)
    found = {}
    for word, score, last in (
        ("DONE", "GOOD", "wait"),
        ("FAILED", "FAILS", "wait"),
        ("PAUSED", "GOOD", "pause"),
        ("CANCELLED", "GOOD", "cancel"),
        ("QUEUED", "GOOD", ""),
    ):
        later = [] if last == "wait" else ["--at", "+1h"]
        found[word] = daemon.run(Path(files[score]), *later)
        if last:
            daemon.mozart(last, found[word])
    return found


def test_D07_every_verb_says_its_codes(shared_daemon: Daemon) -> None:
    assert {line.split()[0] for line, _ in ROWS} == set(VERBS)
    for line, code in ROWS:
        assert code in BY_VERB[line.split()[0]] or code == 2, line
    shown = shared_daemon.mozart("wait", "--help").stdout
    assert "124  --timeout ran out before that" in shown


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_D07_what_is_so_already_is_done(calm_daemon: Daemon, score: Callable[..., Path], verb: str) -> None:
    job = calm_daemon.run(score("say one"), "--at", "+1h")
    calm_daemon.mozart("pause", job)
    first, second = (calm_daemon.mozart(verb, job, "--json") for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert json.loads(second.stdout)["job"] == job
