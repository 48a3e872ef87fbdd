"""The table "English" of the fault list, row by row: what brings a sentence about, and what people would say.

A trigger is cheap: a score that is checked, a function that makes a sentence, a verb's help. And no old wording is left.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any, cast

import pytest
import yaml

from backends import endings
from backends.base import Ending
from cli import board, durations
from cli.commands import gc, limits, reorder, run
from cli.main import run as mozart
from ipc.errors import MozartError, unmet
from ipc.score.check import check
from ipc.score.load import load_score
from ipc.score.problems import ScoreError
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from mozartd import changes
from mozartd.commands import run as daemon
from mozartd.coordinator import why, wishes
from mozartd.settings import load_settings
from tests import ROOT
from tests.conventions.tree import PACKAGES, files, parsed
from tests.text import texts
from workers.spawn import find_program

NOW = 1795435200.0  # 2026-11-23T12:00:00Z
SCORE: dict[str, Any] = {
    "name": "x",
    "workspace": "./w",
    "backend": {"type": "command", "command": ["true"]},
    "sheet": {"size": 1, "total_items": 2},
    "prompt": {"template": "do it"},
}


def problems(path: Path, text: str) -> str:
    """All that `mozart validate` says of a score."""
    file = path / "song.yaml"
    file.write_text(text)
    try:
        found = check(load_score(str(file)))
    except ScoreError as error:
        found = error.problems
    return "\n".join(f"{one.message}\n{one.hint}" for one in found)


def written(**fields: Any) -> str:
    return yaml.safe_dump({**SCORE, **fields}, sort_keys=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            written(sheet={"size": 1, "total_items": 2, "dependencies": {1: [2], 2: [1]}}),
            "circular dependency: 1 → 2 → 1",
        ),
        ("name: x\nsheet:\n  size: 1\n  size: 2\n", "duplicate key 'size' (first on line 3)"),
        ("sheet: {size: 1, total_items: 1}\nprompt: {}\n", "missing required field `name`"),
        (written(prompt={"template": "{{ workspace"}), "template syntax error: `{{` is never closed"),
        (
            written(
                sheet={"size": 1, "total_items": 1, "fan_out": {1: 4}}, prompt={"template": "{{ 1 // (4 - instance) }}"}
            ),
            "cannot render the prompt of sheet 4 (stage 1, instance 4)",
        ),
        (
            written(cost_limits={"enabled": True, "max_cost_per_job": 1}),
            "cost_limits cannot be enforced: the `command` backend reports no cost",
        ),
        (
            written(prompt={"template": "a", "template_file": "b"}),
            "set either prompt.template or prompt.template_file, not both",
        ),
        (
            written(backend={"type": "command", "command": ["true", 7]}),
            "must be a list of strings; quote 7",
        ),
        (written(group=""), "group must not be empty"),
        ("name: x\nsheet:\n\tsize: 1\n", "line 3 is indented with a tab\nuse spaces"),
        (written(sheet={"size": 0, "total_items": None}), "must be at least 1, found 0"),
    ],
)
def test_D08_what_a_score_gets_wrong_is_said_as_people_say_it(tmp_path: Path, text: str, words: str) -> None:
    assert words in problems(tmp_path, text)


def ended(**facts: Any) -> Ending:
    told: dict[str, Any] = {"exit_code": None, "signal": None, "stopped_by": None, "stderr_tail": "", "stdout_tail": ""}
    return Ending(**{**told, "now": NOW, **facts})


@pytest.mark.parametrize(
    ("verdict", "message", "hint"),
    [
        (
            endings.stopped(ended(stopped_by="timeout", patience=2)),
            "timed out after 2s",
            "raise backend.timeout_seconds, or split the work into more sheets",
        ),
        (
            endings.stopped(ended(stopped_by="stalled", patience=300)),
            "no output for 300s (stale_detection.idle_timeout_seconds)",
            "raise stale_detection.idle_timeout_seconds",
        ),
        (endings.failed(ended(exit_code=3)), "the agent exited with status 3", "see its log"),
        (endings.signalled(ended(signal=9)), "the agent was killed (SIGKILL)", "check dmesg for the OOM killer"),
        (endings.missing("claude"), "claude: command not found", "install claude"),
        (
            endings.conventional(ended(exit_code=126), "./agent.sh"),
            "./agent.sh: permission denied",
            "chmod +x ./agent.sh",
        ),
    ],
)
def test_D08_how_an_attempt_ended_is_said_as_people_say_it(
    verdict: endings.Verdict | None, message: str, hint: str
) -> None:
    assert verdict is not None
    assert (verdict.message, verdict.hint[: len(hint)]) == (message, hint)


def test_D08_a_program_that_does_not_run_is_named_as_a_shell_names_it(tmp_path: Path) -> None:
    (tmp_path / "agent.sh").touch()
    with pytest.raises(MozartError, match=r"^claude: command not found"):
        find_program("claude", {"PATH": str(tmp_path)}, str(tmp_path))
    with pytest.raises(MozartError, match=r"^\./agent\.sh: permission denied\nhint: chmod \+x \./agent\.sh"):
        find_program("./agent.sh", {}, str(tmp_path))
    with pytest.raises(MozartError, match=r"^\./agnt\.sh: no such file"):
        find_program("./agnt.sh", {}, str(tmp_path))


def waiting(**data: Any) -> str:
    event = {"type": "sheet.waiting", "time": "2026-11-23T12:00:00Z", "sheet": 3, "attempt": 1, "data": data}
    return board.describe(cast("Any", event), board.Board("x-1", 4), NOW)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MozartError) as raised:
        call()
    return str(raised.value)


SAID: list[tuple[Callable[[], object], str]] = [
    (
        lambda: waiting(reason="E001 timed out after 2s", until="2026-11-23T12:00:00.500Z", mode="normal", of=3),
        "sheet 3 of 4 failed (E001 timed out after 2s); retrying in 0.5s (attempt 2 of 3)",
    ),
    (
        lambda: unmet("the file s1 was changed", "s1 was not modified by this attempt"),
        "s1 was not modified by this attempt",
    ),
    (lambda: unmet("tests pass", "exit status 1"), "tests pass (exit status 1)"),
    (lambda: wishes.over("cancelled"), "it is already cancelled"),
    (lambda: refusal(lambda: durations.seconds_of("--for", "2x")), "not a valid duration"),
    (lambda: refusal(lambda: durations.moment_of("--at", "25:00", NOW)), "not a valid time"),
    (lambda: refusal(lambda: run.pairs("--var", ["branch"])), "expected NAME=VALUE"),
    (lambda: refusal(lambda: reorder.command("slow-24")), "choose a position: --first, --before or --behind"),
    (lambda: reorder.describe("nightly-44", ["nightly-44"]), "nightly-44 is now first in the queue"),
    (lambda: limits.describe([hold()]), "until cleared"),
    (lambda: gc.describe(collected()), "removed 0 B of 21 KiB of logs"),
    (lambda: changes.Need.COORDINATOR, "applied (coordinator restarted)"),
]


def hold() -> dict[str, Any]:
    forecast = {"calls": 0, "tokens": 0, "seconds": 0}
    return {"name": "a", "until": None, "waiting": 0, "forecast": forecast, "reason": "held by hand"}


def collected() -> dict[str, Any]:
    nothing = {"actions": 0, "files": 0, "bytes": 0}
    counts = {"removed_bytes": 0, "compressed_bytes": 0, "log_bytes": 21 * 1024}
    return {"dry_run": False, "actions": [], "more": nothing, "not_ours": [], "more_not_ours": 0, **counts}


@pytest.mark.parametrize(("call", "words"), SAID)
def test_D08_what_verbs_say_is_what_people_would_say(call: Callable[[], object], words: str) -> None:
    assert words in str(call())


def test_D08_why_a_sheet_waits_names_the_limit() -> None:
    asked = {"wanted": "", "after": "", "not_before": 0.0, "group": "nightly", "policy": Object(max_concurrent=2)}
    job = Object(state=JobState.RUNNING, reason="paused by hand", has_room=lambda: True, **asked)
    sheet = Object(state=SheetState.PENDING, scope="command/default/default", missing=0, k=0, until=None)
    free = Object(holding=lambda scope, now: None)
    unbound = dict.fromkeys(("of_scope", "of_backend"), lambda name: None)
    caps = Object(of_group=lambda name: 0, limit_of_group=lambda name: 1, **unbound)

    def said() -> str:
        return why.why_waiting(*cast("Any", (job, sheet, free, caps)), "", NOW)[0]

    assert said() == "group nightly is at its limit of 1"
    job.has_room = lambda: False
    assert said() == "waiting for a free slot (parallel.max_concurrent: 2)"
    job.state = JobState.PAUSED
    assert said() == "paused by hand"


def test_D10_a_setting_that_is_null_is_said_to_be_null(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("workers: null\n")
    assert "must be a whole number; found null" in refusal(lambda: load_settings(str(tmp_path / "config.yaml")))
    (tmp_path / "config.yaml").write_text("workers: 0\n")
    assert "must be at least 1; found 0" in refusal(lambda: load_settings(str(tmp_path / "config.yaml")))


@pytest.mark.parametrize(
    ("program", "verb", "words"),
    [
        (mozart, "retry", ["Re-run failed sheets.", "Usage: mozart retry [OPTIONS] JOB", "At least 1."]),
        (mozart, "resume", ["Resume a paused job."]),
        (mozart, "gc", ["Delete and compress old logs."]),
        (mozart, "modify", ["Replace the plan for sheets that have not run yet.", "JOB SCORE"]),
        (mozart, "run", ["Skip the sheets before N.", "Fail if no daemon is running.", "SCORE"]),
        (mozart, "wait", ["JOB..."]),
        (mozart, "status", ["[JOB]"]),
        (daemon, "stop", ["Wait at most this long (default 90 s; no limit with --drain)."]),
    ],
)
def test_D08_help_says_what_a_verb_does(
    program: Callable[[list[str]], int], verb: str, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert program([verb, "--help"]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert [word for word in words if word not in said] == []
    assert not {mark for mark in ("list[str]", "]]", "x>=", "{JOB}") if mark in said}


OLD = (
    "in a circle", "stands here twice", "the field name is missing", "syntax is wrong", "nobody knows what",
    "exclude each other", "must hold texts", "not allowed, found", "as it was before", "not met: ",
    "did not end within", "or split it", "printed nothing for", "it exited with", "says what it did before",
    "see who did", "there is no such program", "its max_concurrent", "as it allows", "its job was paused",
    "that needed it", "nothing of it runs any more", "it is no time", "it is no length", "it has no name and value",
    "is to go", "somebody acts", "not to be known", "workers of before", "in force with a new", "nothing listens",
    "the daemon has ended", "it is None", "Run what failed", "Go on with a", "Free the disk", "Plan what has not run",
    "Skip those before", "Refuse when no", "Wait so long", "stood in for", "is doubted there",
)  # fmt: skip


def test_D08_no_old_wording_is_left() -> None:
    read = [ROOT / "README.md", ROOT / "deploy/config.yaml"]
    said = {str(path): path.read_text() for path in read}
    said |= {
        f"{path}:{line}": text for path in files(*PACKAGES) for line, text in texts(parsed(path), docstrings=False)
    }
    assert [(place, old) for place, text in said.items() for old in OLD if old in text] == []
