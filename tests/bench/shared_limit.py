"""Fifty sheets of five jobs against one API that allows so many calls a window; the same callers without coordination.

Judged after the first window, which nobody can foresee: how much of what was allowed was used, and how many calls were
refused. Without coordination each caller waits as long as its own 429 says, which is what well-behaved programs do.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from pathlib import Path

from tests.bench import Row, sampled, take_samples
from tests.fakes.limited_api import LimitedApi, call
from tests.process.daemon import Daemon, wait_until

CALLS, SECONDS, TOOK = 60, 10.0, 0.1
WINDOWS = 5
JOBS, PARALLEL = 5, 10
SHORT = {"CALLS": 20, "SECONDS": 1.0, "WINDOWS": 2}
CALLER = Path(__file__).parents[1] / "fakes" / "limited_api.py"


def measure() -> list[Row]:
    alone_used, alone_wasted = judge(uncoordinated())
    api, retries = coordinated()
    used, wasted = judge(api)
    return [
        Row(
            "allowed calls used, 50 sheets of 5 jobs",
            f"{used:.0%}",
            f"alone: {alone_used:.0%}",
            "≥ 95 %",
            used,
            used >= 0.95,
        ),
        Row("calls wasted a window", f"{wasted:.1f}", f"alone: {alone_wasted:.0f}", "≤ 2", wasted, wasted <= 2),
        Row("retries spent on limits", f"{retries}", "", "0", retries, retries == 0),
    ]


def judge(api: LimitedApi) -> tuple[float, float]:
    """Of the windows after the first: the part of the calls that was used, and refusals a window."""
    windows = range(1, WINDOWS)
    used = sum(api.served[window] for window in windows) / (CALLS * len(windows))
    return used, sum(api.refused[window] for window in windows) / len(windows)


def coordinated() -> tuple[LimitedApi, int]:
    with tempfile.TemporaryDirectory(prefix="mzb", ignore_cleanup_errors=True) as directory:
        daemon = sampled(Daemon(Path(directory), {"max_concurrent_sheets": 64, "worker_slots": 32}))
        try:
            daemon.start()
            with LimitedApi(CALLS, SECONDS, TOOK) as api:
                jobs = [daemon.run(write(daemon.home, n, api.port)) for n in range(JOBS)]
                wait_for_windows(api)
                return api, sum(retried(daemon, job) for job in jobs)
        finally:
            try:
                daemon.stop()
                take_samples(daemon)
            finally:
                daemon.remove()


def write(home: Path, n: int, port: int) -> Path:
    total = JOBS * CALLS * WINDOWS  # More than are allowed: nobody comes to an end.
    score = {
        "name": f"caller{n}", "workspace": str(home / f"workspace{n}"), "pause_between_sheets_seconds": 0,
        "backend": {"type": "command", "command": [sys.executable, "-I", "-S", str(CALLER), str(port)]},
        "sheet": {"size": 1, "total_items": total}, "prompt": {"template": "call"},
        "parallel": {"enabled": True, "max_concurrent": PARALLEL}, "retry": {"max_retries": 1},
    }  # fmt: skip
    path = home / f"caller{n}.yaml"
    path.write_text(json.dumps(score))
    return path


def retried(daemon: Daemon, job: str) -> int:
    """Sheets that failed for good: with one attempt allowed, a limit that spent it would."""
    sheets: dict[str, int] = daemon.job(job)["job"]["sheets"]
    return sheets.get("failed", 0) + sheets.get("blocked", 0)


def wait_for_windows(api: LimitedApi) -> None:
    wait_until(lambda: api.last_window() >= WINDOWS, SECONDS * (WINDOWS + 2))


def uncoordinated() -> LimitedApi:
    """Fifty callers that know nothing of each other."""
    with LimitedApi(CALLS, SECONDS, TOOK) as api:
        stop = threading.Event()

        def caller() -> None:
            while not stop.is_set():
                status, wait = call(api.port)
                if status != 200:
                    stop.wait(wait)

        threads = [threading.Thread(target=caller) for _ in range(JOBS * PARALLEL)]
        for thread in threads:
            thread.start()
        wait_for_windows(api)
        stop.set()
        for thread in threads:
            thread.join()
    return api
