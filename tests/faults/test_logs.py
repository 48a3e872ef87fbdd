"""Reading logs, and the one way to a person's eyes: the faults that were found in `mozart logs` and in what verbs print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.lines import ALL, Selection
from cli.verbs import VERBS
from ipc.errors import EXIT_OUTPUT
from tests.bench import MB, hostile_logs
from tests.faults.verbs import every_verb, run_all
from tests.process.daemon import Daemon

Score = Callable[..., Path]


# ---- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hostile_logs.HOSTILE)
def test_F01_showing_costs_the_same_whatever_an_agent_prints(name: str) -> None:
    """Two MB were more than ten minutes, and are some tens of milliseconds."""
    block = hostile_logs.HOSTILE[name]
    for raw in (False, True):
        assert hostile_logs.seconds(block, MB, ALL, raw) < 1.5
    assert hostile_logs.seconds(block, MB, Selection("stdout"), True) < 1.5


def test_F01_a_log_of_what_looks_like_heads_is_shown_exactly(shared_daemon: Daemon, score: Score) -> None:
    line = b" stdout P\n"
    path = score("", backend={"command": ["sh", "-c", "yes ' stdout P' | head -n 26000"]})
    job = shared_daemon.run(path)
    shared_daemon.wait(job)
    done = shared_daemon.mozart("logs", job, "--raw", timeout=10)
    assert done.stdout.encode() == line * 26000


# ---- stdout that takes nothing --------------------------------------------------------------------------------------


def test_D02_what_cannot_be_written_is_one_line_and_an_exit_code_of_its_own(
    shared_daemon: Daemon, score: Score
) -> None:
    path = score("say hello", validations=[{"type": "command_succeeds", "command": "true"}])
    job = shared_daemon.run(path)
    shared_daemon.wait(job)
    full = [["status"], ["logs", job], ["logs", job, "--raw", "--json"], ["plan", "--help"], ["--version"]]
    said = [*run_all(shared_daemon, every_verb(job, str(path)), ">&-"), *run_all(shared_daemon, full, ">/dev/full")]
    told = set()
    for words, code, _, err in said:
        lines = err.decode().splitlines()
        assert code, (words, err)
        if code == EXIT_OUTPUT:
            assert sum("cannot write to standard output" in line for line in lines) == 1, (words, err)
            told.add(words[0])
        else:
            assert lines[0].startswith("mozart: cannot "), (words, err)
    refused = {"cancel", "pause", "resume", "retry", "modify", "priority", "reorder", "daemon", "hold"}
    assert told | refused >= {*VERBS, "--version"}


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "<&- >&- 2>&-"])
def test_D02_the_daemons_verbs_too(shared_daemon: Daemon, redirection: str) -> None:
    for verb in ("status", "start"):
        _, code, _, err = next(run_all(shared_daemon, [[verb]], redirection, "mozartd"))
        assert code == EXIT_OUTPUT
        assert len(err.splitlines()) == ("2>&-" not in redirection)


def test_F07_a_closed_descriptor_is_nobody_elses(shared_daemon: Daemon, score: Score) -> None:
    """What an agent prints went into the daemon's socket: here a request, framed, that cancels another job."""
    victim = shared_daemon.run(score("gate go", name="victim"))
    shared_daemon.wait_for(victim, "sheet.running")
    request = b'{"jsonrpc": "2.0", "id": 1, "method": "cancel", "params": {"job": "%s"}}' % victim.encode()
    frame = len(request).to_bytes(4, "big") + request
    job = shared_daemon.run(score(f"bytes {frame.hex()}", name="evil"))
    shared_daemon.wait(job)
    assert shared_daemon.mozart("logs", job, "--raw").stdout.encode() == frame
    _, code, _, _ = next(run_all(shared_daemon, [["logs", job, "--raw"]], ">&-"))
    assert code == EXIT_OUTPUT
    assert shared_daemon.job(victim)["job"]["state"] == "running"
    shared_daemon.request("cancel", job=victim)
    assert shared_daemon.wait(victim)["state"] == "cancelled"
