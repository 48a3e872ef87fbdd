"""A streamed answer of Claude Code, line by line: from the agent's write to what `mozart logs -f` prints, against a reader
of the agent's own stdout.

The scripted agent plays the program. Mozart gives it a file for stdout, parses each line and logs it before anybody sees it.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from tests import AGENT
from tests.bench import Row, at_most, open_gate, quantile, running
from tests.process.daemon import Daemon, wait_until, write_score

LINES = 800
PAUSE = 0.007
SHORT = {"LINES": 40}
_WRITTEN = re.compile(rb'"text":"(\d+) "')


def measure() -> list[Row]:
    with running() as daemon:
        (daemon.home / "bin" / "claude").symlink_to(AGENT)
        ours = follow(daemon)
        alone = read_alone(daemon.home)
    added = quantile(ours, 0.5) - quantile(alone, 0.5)
    told = f"{quantile(ours, 0.5):.2f} ms, alone {quantile(alone, 0.5):.2f} ms"
    return [
        at_most("added to a line of a streamed answer, p50", added, "ms", 2, told),
        at_most("latency of such a line, p99", quantile(ours, 0.99), "ms", 15, f"alone {quantile(alone, 0.99):.2f} ms"),
    ]


def follow(daemon: Daemon) -> list[float]:
    script = f"gate go\ntokens {LINES} {PAUSE}\ndone"
    score = write_score(daemon.home, script, name="tokens", backend={"type": "claude_cli", "command": None})
    job = daemon.run(score)
    gate = daemon.home / "workspace" / "go"
    wait_until(gate.exists)
    follower = daemon.popen("logs", job, "-f", "--raw", stderr=subprocess.DEVNULL)
    wait_until(lambda: daemon.status()["followers"] == 1)
    open_gate(gate)
    found = latencies(follower)
    assert daemon.wait(job)["state"] == "completed"
    return found


def read_alone(directory: Path) -> list[float]:
    with subprocess.Popen([AGENT, f"tokens {LINES} {PAUSE}"], cwd=directory, stdout=subprocess.PIPE) as agent:
        return latencies(agent)


def latencies(process: subprocess.Popen[bytes]) -> list[float]:
    """Milliseconds, of each line."""
    assert process.stdout
    found: list[float] = []
    while len(found) < LINES:
        written = _WRITTEN.search(process.stdout.readline())
        assert written, "a line that is no piece of text"
        found.append((time.monotonic_ns() - int(written[1])) / 1e6)
    return found
