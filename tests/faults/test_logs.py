"""Reading logs, and the one way to a person's eyes: the faults that were found in `mozart logs` and in what verbs print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.lines import ALL, Selection
from tests.bench import MB, hostile_logs
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
