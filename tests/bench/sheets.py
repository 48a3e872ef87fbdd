"""A score of 500 sheets that run `true`, eight at once, against `xargs -P 8` doing as many."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import datetime
from statistics import median

from tests.bench import Row, at_least, running
from tests.process.daemon import Daemon

SHEETS = 500
PARALLEL = 8
ROUNDS = 3
SHORT = {"SHEETS": 16, "ROUNDS": 1}


def measure() -> list[Row]:
    with running() as daemon:
        ours, theirs = [], []
        for n in range(ROUNDS):
            theirs.append(xargs())
            ours.append(play(daemon, n))
    return [at_least(f"{SHEETS} sheets of `true`", median(ours), median(theirs), "/s", f"xargs -P {PARALLEL}", 0.3)]


def xargs() -> float:
    begin = time.monotonic()
    numbers = "\n".join(map(str, range(SHEETS)))
    subprocess.run(["xargs", "-P", str(PARALLEL), "-n", "1", "true"], input=numbers, text=True, check=True)
    return SHEETS / (time.monotonic() - begin)


def play(daemon: Daemon, n: int) -> float:
    """Sheets per second, from the submission to the job's end."""
    score = {
        "name": f"true-{n}",
        "workspace": str(daemon.home / f"workspace-{n}"),
        "backend": {"type": "command", "command": ["true"]},
        "sheet": {"size": 1, "total_items": SHEETS},
        "prompt": {"template": "Do nothing."},
        "parallel": {"enabled": True, "max_concurrent": PARALLEL},
        "pause_between_sheets_seconds": 0,
    }
    path = daemon.home / f"true-{n}.yaml"
    path.write_text(json.dumps(score))
    job = daemon.wait(daemon.run(path), patience=120)
    assert job["sheets"] == {"completed": SHEETS}
    begin, end = (datetime.fromisoformat(job[key]) for key in ("submitted_at", "ended_at"))
    return SHEETS / (end - begin).total_seconds()
