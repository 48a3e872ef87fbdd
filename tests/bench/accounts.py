"""Two accounts, one of them limited: how much longer the other one's work takes for it.

The same work of one account runs alone and beside a job whose account is refused by its service, in turns.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import Row, running
from tests.bench.shared_limit import CALLER
from tests.fakes.limited_api import LimitedApi
from tests.process.daemon import Daemon

#: Few at once and long: what is measured is waiting, not the processor that the calling programs share.
SHEETS, PARALLEL, TOOK = 32, 4, 0.5
ROUNDS = 5
SHORT = {"SHEETS": 8, "ROUNDS": 1}


def measure() -> list[Row]:
    alone, beside = [], []
    with running() as daemon, LimitedApi(10**6, 3600.0, TOOK) as open_api, LimitedApi(3, 3600.0, TOOK) as limited_api:
        for n in range(ROUNDS):
            alone.append(seconds(daemon, write(daemon.home, f"alone{n}", "b", open_api.port)))
            limited = daemon.run(write(daemon.home, f"limited{n}", f"a{n}", limited_api.port))
            beside.append(seconds(daemon, write(daemon.home, f"beside{n}", "b", open_api.port)))
            assert daemon.status()["holds"] == n + 1, "the other account is held all the time"
            daemon.request("cancel", job=limited)
    loss = median(beside) / median(alone) - 1
    shown = f"{100 * loss:.1f} %"
    baseline = f"alone: {median(alone):.2f} s, beside a limited one: {median(beside):.2f} s"
    return [Row("time lost to another account's limit", shown, baseline, "≤ 2 %", loss, loss <= 0.02)]


def seconds(daemon: Daemon, score: Path) -> float:
    job = daemon.wait(daemon.run(score), patience=120)
    assert job["sheets"] == {"completed": SHEETS}
    begin, end = (datetime.fromisoformat(job[key]) for key in ("started_at", "ended_at"))
    return (end - begin).total_seconds()


def write(home: Path, name: str, account: str, port: int) -> Path:
    score: dict[str, Any] = {
        "name": name, "workspace": str(home / name), "pause_between_sheets_seconds": 0,
        "backend": {
            "type": "command", "command": [sys.executable, "-I", "-S", str(CALLER), str(port)],
            "env": {"ANTHROPIC_API_KEY": f"sk-invented-{account}"},
        },
        "sheet": {"size": 1, "total_items": SHEETS}, "prompt": {"template": "call"},
        "parallel": {"enabled": True, "max_concurrent": PARALLEL},
    }  # fmt: skip
    path = home / f"{name}.yaml"
    path.write_text(json.dumps(score))
    return path
