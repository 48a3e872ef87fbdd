"""What every real program must do in Mozart, and what each of its failures is called.

One success of each program, and those tests of Claude Code that stand for the rest, are part of `make test`; the others
are marked `agents` and run by `make test-agents`. `max_retries` is 0 throughout: a sheet that waits after a limit has proof
that no retry was spent on it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

import pytest

from tests.agents.programs import CLAUDE, CODEX, GEMINI, OPENCODE, SUBSCRIBER, Program
from tests.agents.scene import PATIENCE, Scene
from tests.process.daemon import describe, is_alive, wait_until

pytestmark = pytest.mark.timeout(150)

PROGRAMS = (CLAUDE, CODEX, GEMINI, OPENCODE)
#: Of `make test`.
SHORT = (CLAUDE,)


def cases(*programs: Program, short: tuple[Program, ...] = ()) -> pytest.MarkDecorator:
    """One test for each program; those not in `short` are for `make test-agents`."""
    return pytest.mark.parametrize("program", [entry(each, each.name, each in short) for each in programs])


def entry(value: object, name: str, short: bool = False) -> object:
    return pytest.param(value, id=name, marks=() if short else pytest.mark.agents)


@pytest.fixture
def arranged(scene: Callable[[Program], Scene]) -> Iterator[Callable[[Program], Scene]]:
    """`arranged(CLAUDE)`: its scene; nothing of it may be left afterwards."""
    arranged: list[Scene] = []

    def arrange(program: Program) -> Scene:
        arranged.append(scene(program))
        return arranged[-1]

    yield arrange
    for each in arranged:
        each.close()


# ---- what goes well -------------------------------------------------------------------------------------------------


@cases(*PROGRAMS, short=PROGRAMS)
def test_an_answer_is_a_success(arranged: Callable[[Program], Scene], program: Program) -> None:
    scene = arranged(program)
    attempt = scene.play("say All is done, no rate limit, no error 500.")
    assert (attempt["verdict"], attempt["code"], attempt["exit_code"]) == ("ok", "", 0)
    assert attempt["session_id"]
    assert attempt["tokens"]["output"] > 0
    assert "All is done, no rate limit, no error 500." in scene.daemon.mozart("logs", scene.job).stdout
    assert "Do what is to be done." in json.dumps(scene.requests()[0]["body"])
    assert scene.hold() is None


@cases(*PROGRAMS, short=SHORT)
def test_a_tool_writes_the_file_that_is_asked_for(arranged: Callable[[Program], Scene], program: Program) -> None:
    scene = arranged(program)
    rule = {"type": "file_exists", "path": "{workspace}/made.txt"}
    attempt = scene.play(f"shell echo made > {scene.workspace}/made.txt", "say It is written.", validations=[rule])
    assert attempt["verdict"] == "ok"
    assert [each["passed"] for each in scene.sheet()["validations"]] == [True]
    assert scene.daemon.wait(scene.job)["state"] == "completed"
    assert (scene.workspace / "made.txt").read_text() == "made\n"


@cases(*PROGRAMS)
def test_an_answer_of_two_megabytes_is_logged_whole(arranged: Callable[[Program], Scene], program: Program) -> None:
    scene = arranged(program)
    attempt = scene.play("big 2000000")
    assert attempt["verdict"] == "ok"
    numbers = {int(found) for found in re.findall(rb"(\d{10}) [0-9a-f]{52}", scene.printed())}
    assert numbers == set(range(2_000_000 // 64))


@cases(*PROGRAMS)
def test_a_session_is_continued_with_what_is_missing(arranged: Callable[[Program], Scene], program: Program) -> None:
    scene = arranged(program)
    rules = [{"type": "file_exists", "path": f"{{workspace}}/{name}"} for name in ("first", "second")]
    scene.start(
        f"shell echo 1 > {scene.workspace}/first", "say Half of it.",
        f"shell echo 2 > {scene.workspace}/second", "say The rest, too.",
        validations=rules, retry={"max_retries": 0, "completion_delay_seconds": 0},
    )  # fmt: skip
    assert scene.daemon.wait(scene.job, PATIENCE)["state"] == "completed"
    first, second = scene.sheet()["attempts"]
    assert (second["mode"], second["verdict"]) == ("completion", "ok")
    assert second["session_id"] == first["session_id"]
    assert "Half of it." in json.dumps(scene.requests()[2]["body"]), "it was asked without what came before"


@cases(*PROGRAMS)
def test_an_interrupted_attempt_goes_on_in_its_session(arranged: Callable[[Program], Scene], program: Program) -> None:
    """Its worker is killed in the middle of an answer, and the agent with it."""
    scene = arranged(program)
    scene.start("shell expr 41 + 1000000", "hang I am thinking about", "say That is the end of it.")
    wait_until(lambda: len(scene.requests()) == 2 and scene.has_written("1000041"), PATIENCE)
    os.kill(scene.attempt()["worker_pid"], signal.SIGKILL)
    assert scene.daemon.wait(scene.job, PATIENCE)["state"] == "completed", scene.told()
    first, second = scene.sheet()["attempts"]
    assert (first["interrupted"], second["mode"], second["verdict"]) == (True, "resume", "ok")
    assert second["session_id"] == first["session_id"]
    assert "1000041" in json.dumps(scene.requests()[-1]["body"]), "it was asked without what came before"


@cases(*PROGRAMS)
def test_a_terminal_changes_nothing(arranged: Callable[[Program], Scene], program: Program) -> None:
    """None of them buffers in a pipe; who sets `pty` all the same gets the same."""
    scene = arranged(program)
    attempt = scene.play("say All is done.", backend={"pty": True})
    assert (attempt["verdict"], attempt["exit_code"]) == ("ok", 0), scene.told()
    assert attempt["session_id"]
    assert "All is done." in scene.daemon.mozart("logs", scene.job).stdout


@pytest.mark.parametrize(
    ("program", "marker"),
    [
        pytest.param(CLAUDE, b"piece 3", id="claude", marks=pytest.mark.agents),
        pytest.param(GEMINI, b"piece 3", id="gemini", marks=pytest.mark.agents),
        # These print nothing of an answer before it is whole.
        pytest.param(CODEX, b"from a tool", id="codex", marks=pytest.mark.agents),
        pytest.param(OPENCODE, b"from a tool", id="opencode", marks=pytest.mark.agents),
    ],
)
def test_lines_arrive_while_the_program_works(
    arranged: Callable[[Program], Scene], program: Program, marker: bytes
) -> None:
    scene = arranged(program)
    scene.start("shell echo from a tool", "slow 60 0.1")
    follower = scene.daemon.popen("logs", scene.job, "-f", "--raw", stderr=subprocess.DEVNULL)
    assert follower.stdout
    for line in follower.stdout:
        if marker in line:
            break
    assert scene.attempt()["state"] == "running"
    assert b"piece 59" not in scene.printed()
    assert scene.ended()["verdict"] == "ok"
    assert b"piece 59" in scene.printed()


# ---- what the service does ------------------------------------------------------------------------------------------


class Failing(NamedTuple):
    program: Program
    script: str
    verdict: str
    code: str
    evidence: str
    """Part of what is shown as such."""
    resets_in: float = 0.0
    """Seconds, where the program tells."""


#: By `PROGRAM-CASE`. `refused` is an address where nobody listens.
FAILING = {
    "claude-401": Failing(CLAUDE, "status 401", "auth", "E502", "Invalid API key"),
    "claude-429": Failing(CLAUDE, "status 429", "rate_limited", "E101", "Request rejected (429)"),
    "claude-429-in-1-s": Failing(CLAUDE, "status 429 retry-after:1", "rate_limited", "E101", "Request rejected (429)"),
    "claude-429-in-1-h": Failing(CLAUDE, "status 429 retry-after:3600", "rate_limited", "E101", "429"),
    "claude-quota": Failing(SUBSCRIBER, "quota 7200", "rate_limited", "E104", "five_hour rejected", 7200),
    "claude-529": Failing(CLAUDE, "status 529", "overloaded", "E103", "529"),
    "claude-500": Failing(CLAUDE, "status 500", "overloaded", "E103", "500"),
    "claude-refused": Failing(CLAUDE, "refused", "failed", "E501", "Unable to connect"),
    "codex-401": Failing(CODEX, "status 401", "auth", "E502", "401"),
    "codex-429": Failing(CODEX, "status 429", "rate_limited", "E101", "429"),
    "codex-429-in-1-h": Failing(CODEX, "status 429 retry-after:3600", "rate_limited", "E101", "429"),
    "codex-quota": Failing(CODEX, "quota 7200", "rate_limited", "E104", "hit your usage limit", 7200),
    "codex-529": Failing(CODEX, "status 529", "overloaded", "E103", "unexpected status 529"),
    "codex-500": Failing(CODEX, "status 500", "overloaded", "E103", "high demand"),
    "codex-refused": Failing(CODEX, "refused", "failed", "E501", ""),
    "gemini-401": Failing(GEMINI, "status 401", "auth", "E502", "invalid x-api-key"),
    "gemini-429": Failing(GEMINI, "status 429", "rate_limited", "E101", "429"),
    "gemini-429-in-1-h": Failing(GEMINI, "status 429 retry-after:3600", "rate_limited", "E101", "429"),
    "gemini-quota": Failing(GEMINI, "quota 7200", "rate_limited", "E104", "quota"),
    "gemini-503": Failing(GEMINI, "status 503", "overloaded", "E103", "503"),
    "gemini-529": Failing(GEMINI, "status 529", "overloaded", "E103", "529"),
    "gemini-500": Failing(GEMINI, "status 500", "overloaded", "E103", "500"),
    "gemini-refused": Failing(GEMINI, "refused", "failed", "E501", ""),
    "opencode-401": Failing(OPENCODE, "status 401", "auth", "E502", "invalid x-api-key"),
    "opencode-429": Failing(OPENCODE, "status 429", "rate_limited", "E101", "rate limit"),
    # It names no time and sleeps through it: known by the retry that does not come.
    "opencode-429-in-1-h": Failing(OPENCODE, "status 429 retry-after:3600", "rate_limited", "E101", "rate limit"),
    "opencode-quota": Failing(OPENCODE, "quota 7200", "rate_limited", "E104", "quota"),
    "opencode-529": Failing(OPENCODE, "status 529", "overloaded", "E103", ""),
    "opencode-500": Failing(OPENCODE, "status 500", "overloaded", "E103", ""),
    "opencode-refused": Failing(OPENCODE, "refused", "failed", "E501", ""),
}


@pytest.mark.parametrize("case", [entry(case, name, name == "claude-429") for name, case in FAILING.items()])
def test_a_refusal_is_called_by_its_name(arranged: Callable[[Program], Scene], case: Failing) -> None:
    scene = arranged(case.program)
    attempt = scene.play(case.script)
    assert (attempt["verdict"], attempt["code"]) == (case.verdict, case.code), scene.told()
    assert case.evidence in attempt["evidence"], scene.told()
    held = case.verdict in ("auth", "rate_limited", "overloaded")
    hold = scene.hold()
    assert (hold is not None) == held
    if hold and case.resets_in:
        seconds = (datetime.fromisoformat(hold["until"]) - datetime.fromisoformat(attempt["ended_at"])).total_seconds()
        assert case.resets_in - 180 < seconds <= case.resets_in + 1, scene.told()
    assert scene.state() == ("paused" if case.verdict == "auth" else "running" if held else "failed")
    assert len(scene.sheet()["attempts"]) == 1


@cases(*PROGRAMS)
def test_an_answer_that_breaks_off_is_asked_for_again(arranged: Callable[[Program], Scene], program: Program) -> None:
    scene = arranged(program)
    attempt = scene.play("cut This is where the first answer breaks off.", "say This is the whole answer.")
    assert attempt["verdict"] == "ok", scene.told()
    assert "This is the whole answer." in scene.daemon.mozart("logs", scene.job).stdout


# ---- how it ends ----------------------------------------------------------------------------------------------------

TOOL = "shell sleep 3210 & sleep 3211"


def tool_of(scene: Scene) -> list[int]:
    """The processes of the running tool, both of its sleeps among them."""
    found = scene.processes()
    sleeping = [pid for pid in found if describe(pid).split(": ", 1)[1].startswith("sleep 321")]
    return found if len(sleeping) == 2 else []


@cases(*PROGRAMS, short=SHORT)
def test_a_cancelled_program_leaves_no_tool_behind(arranged: Callable[[Program], Scene], program: Program) -> None:
    scene = arranged(program)
    scene.start(TOOL, "say never")
    pids = wait_until(lambda: tool_of(scene), PATIENCE)
    scene.daemon.request("cancel", job=scene.job)
    assert scene.daemon.wait(scene.job)["state"] == "cancelled"
    assert scene.attempt()["verdict"] == "cancelled"
    wait_until(lambda: not any(map(is_alive, pids)), 2.0)
    assert not scene.processes()


@cases(*PROGRAMS)
def test_a_killed_program_leaves_no_tool_behind(arranged: Callable[[Program], Scene], program: Program) -> None:
    scene = arranged(program)
    scene.start(TOOL, "say never")
    pids = wait_until(lambda: tool_of(scene), PATIENCE)
    os.kill(scene.agent(), signal.SIGTERM)
    attempt = scene.ended()
    assert attempt["verdict"] in ("crashed", "truncated"), scene.told()
    wait_until(lambda: not any(map(is_alive, pids)), 2.0)


@cases(*PROGRAMS)
def test_what_a_tool_leaves_running_ends_with_the_program(
    arranged: Callable[[Program], Scene], program: Program
) -> None:
    scene = arranged(program)
    attempt = scene.play("shell setsid sleep 3212 >/dev/null 2>&1 </dev/null & true", "say It runs on.")
    assert attempt["verdict"] == "ok"
    assert not scene.processes()
