"""`mozart status JOB` as a process, against a bare interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from tests.bench import Row, running
from tests.process.daemon import write_score

ROUNDS = 25
SHORT = {"ROUNDS": 2}


def measure() -> list[Row]:
    with running() as daemon:
        job = daemon.run(write_score(daemon.home, "say hello", "say world"))
        daemon.wait(job)
        ours, bare = [], []
        for _ in range(ROUNDS):
            bare.append(run([sys.executable, "-I", "-c", "pass"], daemon.environment))
            ours.append(run([str(daemon.scripts / "mozart"), "status", job], daemon.environment))
    ratio = median(ours) / median(bare)
    shown = f"{1000 * median(ours):.0f} ms = {ratio:.1f}×"
    return [
        Row(
            "mozart status JOB", shown, f"python3 -I -c pass: {1000 * median(bare):.0f} ms", "≤ 12×", ratio, ratio <= 12
        )
    ]


def run(command: list[str], environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin
