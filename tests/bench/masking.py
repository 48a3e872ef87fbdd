"""What masking costs: the same flood captured with the mask that every attempt has, and with one that looks at nothing.

Both are what a worker does with an agent's output, in a process of its own each (`tests.bench.capture`), in turns.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.bench import Row
from tests.bench.capture import FILE_BYTES, HEAD, LENGTH, TOTAL, child, rate
from tests.bench.flood import flood

ROUNDS = 7
REACH = 0.25
SHORT = {"ROUNDS": 1}


def measure() -> list[Row]:
    masked, bare = [], []
    with tempfile.TemporaryDirectory(prefix="mzb") as name:
        lines = Path(name, "lines")
        lines.write_bytes(flood(FILE_BYTES, LENGTH))
        for n in range(ROUNDS):
            bare.append(captured(lines, Path(name, f"bare{n}"), "--bare"))
            masked.append(captured(lines, Path(name, f"masked{n}")))
    cost = 1 - median(masked) / median(bare)
    shown = f"{median(masked):,.0f} MB/s = {cost:.0%} less"
    return [
        Row(
            "masking, of the capture",
            shown,
            f"unmasked: {median(bare):,.0f} MB/s",
            f"≤ {REACH:.0%}",
            cost,
            cost <= REACH,
        )
    ]


def captured(lines: Path, directory: Path, *how: str) -> float:
    directory.mkdir()
    command = [sys.executable, "-m", "tests.bench.capture", child(lines), str(directory), *how]
    return rate(command, directory, TOTAL + TOTAL // LENGTH * HEAD)
