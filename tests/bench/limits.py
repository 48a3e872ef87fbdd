"""From the limit in an agent's output to the hold in force, as a client of the daemon learns of it: committed, and obeyed.

The scripted agent plays Claude Code; each sheet has a key of its own, so that the hold of one does not keep the next.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests import AGENT
from tests.bench import Row, at_most, quantile, running
from tests.process.daemon import PATIENCE, Daemon, write_score

SHEETS = 100
SHORT = {"SHEETS": 5}
_PRINTED = re.compile(rb'"n":(\d+)\}')


def measure() -> list[Row]:
    with running() as daemon:
        (daemon.home / "bin" / "claude").symlink_to(AGENT)
        found = holds(daemon)
    return [
        at_most(
            "limit printed → hold in force, p99", quantile(found, 0.99), "ms", 50, f"p50 {quantile(found, 0.5):.2f} ms"
        ),
    ]


def holds(daemon: Daemon) -> list[float]:
    """Milliseconds, of each sheet."""
    keys = {n: {"env": {"ANTHROPIC_API_KEY": f"sk-invented-{n}"}} for n in range(1, SHEETS + 1)}
    score = write_score(
        daemon.home, *["limit\nhang"] * SHEETS, name="limited", backend={"type": "claude_cli", "command": None},
        sheet={"backends": keys}, parallel={"enabled": True, "max_concurrent": 1},
    )  # fmt: skip
    job = daemon.run(score)
    seen = set_times(daemon)
    sheets: list[dict[str, Any]] = daemon.job(job)["sheets"]
    printed = [printed_at(Path(sheet["attempts"][0]["log"])) for sheet in sheets]
    daemon.request("cancel", job=job)
    return [(held - limit) / 1e6 for held, limit in zip(sorted(seen), sorted(printed), strict=True)]


def set_times(daemon: Daemon) -> list[int]:
    """When each hold was told, in ns of the clock that the agent reads."""
    found: dict[str, int] = {}
    with daemon.client(PATIENCE) as client:
        client.request("events.follow", {"since": 0, "follow": True})
        for _, event in client.notifications():
            if event["type"] == "hold.set":
                found.setdefault(event["data"]["scope"], time.monotonic_ns())
            if len(found) == SHEETS:
                break
    return list(found.values())


def printed_at(log: Path) -> int:
    found = _PRINTED.search(log.read_bytes())
    assert found, json.dumps(str(log))
    return int(found[1])
