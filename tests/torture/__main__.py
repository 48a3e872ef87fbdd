"""The long forms: `python -m tests.torture [NAME …] [--seed N]`; without names storm, writes, requests and runaways.

storm      random kills of any process, or of all, over a mixed load (--kills)
writes     at every write to the database the coordinator dies, or the disk fails (--points for some, --write for one)
fuzz       frames, requests' parameters and YAML, guided by coverage (--seconds for each)
requests   clients that ask at random while processes die, stop, and the disk is full (--blows)
runaways   agents with children in sessions of their own are killed (--agents)
cold       twelve callers at once where no daemon runs (--rounds)
frozen     everything stands still for 1, 35 and 300 seconds (--longest)
soak       attempts in one daemon, and what each process holds (--attempts)
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.torture import cold, frozen, fuzz, requests, runaways, soak, storm, writes


def run_storm(home: Path, options: argparse.Namespace) -> str:
    done = storm.run(home, options.kills, options.seed)
    kills = ", ".join(f"{count} {name}" for name, count in done.kills.items())
    return f"{len(done.submitted)} jobs, killed {kills}: nothing lost, nothing left"


def run_writes(home: Path, options: argparse.Namespace) -> str:
    done = writes.run(options.points, random.Random(options.seed), writes.SIDE_BY_SIDE, options.write)
    beyond = f" ({done.beyond} more ended before theirs)" if done.beyond else ""
    of = ", ".join(f"{count} in a {act}" for act, count in done.writes.items())
    return f"{done.lives} lives with a write that went wrong{beyond}, of {of}: nothing lost"


def run_requests(home: Path, options: argparse.Namespace) -> str:
    done = requests.run(home, options.blows, options.seed)
    blows = ", ".join(f"{count} {name}" for name, count in done.blows.items())
    return f"{len(done.record.asked)} requests, {len(done.record.jobs)} jobs; {blows}: all as they were told"


def run_fuzz(home: Path, options: argparse.Namespace) -> str:
    if not fuzz.is_here():
        return "SKIPPED: atheris is not installed (`make torture ARGS=fuzz` installs it where it can be had)"
    fuzz.run(home, options.seconds)
    return "nothing breaks"


def run_runaways(home: Path, options: argparse.Namespace) -> str:
    return f"{runaways.run(home, options.agents)} agents killed: 0 survivors"


def run_cold(home: Path, options: argparse.Namespace) -> str:
    return f"{cold.run(home, options.rounds)} callers answered, one daemon a round"


def run_frozen(home: Path, options: argparse.Namespace) -> str:
    return f"stood still for {frozen.run(home, options.longest)} s and more: nothing killed, nothing lost"


def run_soak(home: Path, options: argparse.Namespace) -> str:
    lines = soak.run(home, options.attempts)
    table = soak.show(lines)
    assert all(line.is_flat for line in lines), f"something grows\n{table}"
    return table


ORDEALS: dict[str, Callable[[Path, argparse.Namespace], str]] = {
    "storm": run_storm,
    "writes": run_writes,
    "requests": run_requests,
    "runaways": run_runaways,
    "soak": run_soak,
    "cold": run_cold,
    "frozen": run_frozen,
    "fuzz": run_fuzz,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    counts = {
        "kills": 200,
        "blows": 200,
        "points": 10_000,
        "agents": 1000,
        "attempts": 10_000,
        "seconds": 60,
        "rounds": 50,
        "longest": 300,
    }
    for name, count in counts.items():
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N")
    parser.add_argument("--write", type=int, metavar="N")
    options = parser.parse_args()
    if unknown := set(options.names) - set(ORDEALS):
        parser.error(f"no such ordeal: {', '.join(sorted(unknown))}; there are {', '.join(ORDEALS)}")
    for name in options.names or ("storm", "writes", "requests", "runaways"):
        print(f"{name}, seed {options.seed}", flush=True)
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mz", ignore_cleanup_errors=True) as home:
            print(ORDEALS[name](Path(home), options))
        print(f"({time.monotonic() - begin:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
