"""The attack: `python -m tests.attack [mutations [NAME …]]` (`make attack`).

Without arguments: every test of a fault that outsiders could use (the rows A, C and D01) and every test that SECURITY.md names.
`mutations`: each guard that SECURITY.md promises is taken out of a copy of the program, and the promise's test must go red.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import ROOT
from tests.attack.mutations import MUTATIONS, Mutation
from tests.attack.promises import promises

ROWS = "test_A or test_C or test_D01"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["mutations"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of promises; all without")
    options = parser.parse_args()
    return take_out(options.names) if options.what else attack()


def attack() -> int:
    rows = pytest(ROOT, ["tests/faults", "-k", ROWS])
    named = pytest(ROOT, sorted({promise.test for promise in promises()}))
    return rows or named


def take_out(names: Sequence[str]) -> int:
    """Exit 1 when a test does not notice that its guard is gone."""
    kept = []
    for promise in promises():
        if names and promise.name not in names:
            continue
        noticed = is_noticed(MUTATIONS[promise.name], promise.test)
        print(f"{'red' if noticed else 'STILL GREEN'}  {promise.name}  ({promise.test})", flush=True)
        kept += [] if noticed else [promise.name]
    return int(bool(kept))


def is_noticed(mutation: Mutation, test: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="mz") as directory:
        checkout = Path(directory) / "mozart"
        checkout.mkdir()
        for name in tracked():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
        mutation.apply(checkout)
        return pytest(checkout, [test, "--tb=no"], quiet=True) == 1


def tracked() -> Iterator[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    return (name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file())


def pytest(checkout: Path, arguments: Sequence[str], quiet: bool = False) -> int:
    """pytest's exit code: 0 all green, 1 some red, else it could not run."""
    command = [sys.executable, "-m", "pytest", *(["-n0"] if quiet else ["-n2", "--dist", "worksteal"]), *arguments]
    stdout = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, cwd=checkout, stdout=stdout, stderr=stdout, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
