"""Run the benches (all, or those named) and print what was reached: `python -m tests.bench [NAME …] [--json FILE] [--short]`.

`loop CPU` is what a loop of the daemon used between two waits at most, `lag p99.9` how late it was. Exit 1 when something was
missed, or a loop stalled. With `--short` the sizes are small and the figures mean nothing: the benches run, no more.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
import time
from importlib import import_module

from tests.bench import MOST_CPU_MS, Row, with_samples

NAMES = (
    "capture",
    "followers",
    "latency",
    "status_process",
    "restart",
    "upgrade",
    "sheets",
    "memory",
    "idle",
    "plan",
    "fairness",
    "queue",
    "shared_limit",
    "simulated_limit",
    "accounts",
    "limits",
    "tokens",
    "attack",
    "masking",
    "hostile_logs",
    "retention",
    "requests",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", metavar="FILE", help="write the table there, too")
    parser.add_argument(
        "--short", action="store_true", help="only show that they run: small sizes, figures that mean nothing"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    rows = [row for name in options.names or NAMES for row in measure(name, options.short)]
    show(rows)
    if options.json:
        write(options.json, rows)
    return 0 if options.short or all(row.reached and not row.is_stalled for row in rows) else 1


def measure(name: str, short: bool = False) -> list[Row]:
    print(f"{name} …", end="", file=sys.stderr, flush=True)
    begin = time.monotonic()
    bench = import_module(f"tests.bench.{name}")
    if short:
        vars(bench).update(getattr(bench, "SHORT", {}))
    rows: list[Row] = with_samples(bench.measure())
    print(f" {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return rows


def show(rows: list[Row]) -> None:
    table = [("", "Mozart", "baseline", "reach", "loop CPU", "lag p99.9", "")]
    table += [
        (row.what, row.ours, row.baseline, row.reach, _ms(row.cpu_ms), _ms(row.lag_ms), _verdict(row)) for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"


def _verdict(row: Row) -> str:
    return "MISS" if not row.reached else f"STALL (> {MOST_CPU_MS:g} ms)" if row.is_stalled else "pass"


def write(path: str, rows: list[Row]) -> None:
    document = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    with open(path, "w") as file:
        json.dump(document, file, indent=1, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
