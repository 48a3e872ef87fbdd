"""Ten thousand queued jobs: `mozart status` and `mozart list` as whole commands, and what the coordinator needs for them.

The jobs are put into the database before the daemon starts, as `submit` would have written them; a hold keeps them queued.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from ipc.score.schema import Score
from mozartd.coordinator.requests.submit import make_job, rows_of
from mozartd.coordinator.throttle import Throttle
from mozartd.store.store import Store
from tests.bench import MB, Row, at_most, sampled, take_samples
from tests.bench.memory import pss
from tests.bench.status_process import run
from tests.process.daemon import Daemon, wait_until

JOBS = 10_000
ROUNDS = 15
SHORT = {"JOBS": 100, "ROUNDS": 1}


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="mzb", ignore_cleanup_errors=True) as directory:
        daemon = sampled(Daemon(Path(directory)))
        (Path(directory) / "state").mkdir(mode=0o700)
        asyncio.run(fill(str(Path(directory) / "state" / "mozart.db")))
        try:
            daemon.start()
            wait_until(lambda: daemon.status()["jobs"] == {"queued": JOBS})
            took = asked(daemon)
            coordinator = pss(daemon.pid("coordinator")) / MB
        finally:
            try:
                daemon.stop()
                take_samples(daemon)
            finally:
                daemon.remove()
    bare = f"python3 -I -c pass: {took['bare']:.0f} ms"
    return [
        at_most("mozart status, 10,000 queued jobs", took["status"], "ms", 150, bare),
        at_most("mozart list, 10,000 queued jobs", took["list"], "ms", 150, bare),
        at_most("mozart list --json, all of them", took["json"], "ms", 1500, bare),
        at_most("coordinator with 10,000 queued jobs, PSS", coordinator, "MB", 250),
    ]


def asked(daemon: Daemon) -> dict[str, float]:
    """Milliseconds at the median, taking turns."""
    mozart = str(daemon.scripts / "mozart")
    commands = {
        "bare": [sys.executable, "-I", "-c", "pass"], "status": [mozart, "status"], "list": [mozart, "list"],
        "json": [mozart, "list", "--json"],
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            found[name].append(1000 * run(command, daemon.environment))
    shown = subprocess.run(commands["json"], env=daemon.environment, capture_output=True, check=True).stdout
    assert len(json.loads(shown)["jobs"]) == JOBS
    return {name: median(times) for name, times in found.items()}


async def fill(database: str) -> None:
    store = await Store.open(database)
    try:
        await write(store)
    finally:
        # Its thread would keep a bench that failed from ending.
        await store.close()


async def write(store: Store) -> None:
    score = Score.model_validate({
        "name": "queued", "workspace": "/tmp", "backend": {"type": "command", "command": ["true"]},
        "sheet": {"size": 1, "total_items": 3}, "prompt": {"template": "Do nothing."},
    })  # fmt: skip
    for seq in range(1, JOBS + 1):
        job = make_job(score, "/tmp/queued.yaml", 1e9 + seq)
        job.seq, job.id = seq, f"queued-{seq}"
        store.write(rows_of(job, score, "", {}))
    held = Throttle("command", since=1e9, until=math.inf, reason="bench")
    row = {name: getattr(held, name) for name in ("scope", "since", "until", "reason", "evidence")}
    await store.write([("put_hold", {**row, "facts": json.dumps(held.facts())})])
