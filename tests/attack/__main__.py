"""The attack: `python -m tests.attack [mutations [NAME …]]` (`make attack`).

Without arguments: every test of a fault that outsiders could use (the rows A, C and D01) and every test that SECURITY.md names.
`mutations`: each guard that SECURITY.md promises is taken out of a copy of the program, and the promise's test must go red.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence

from tests import ROOT
from tests.apart import copy_checkout, place, run_pytest, tests_of_rows
from tests.attack.mutations import MUTATIONS, Mutation
from tests.attack.promises import promises

#: What a test says of a guard that is gone.
RED, GREEN, NOT_TRIED = "red", "STILL GREEN", "not tried"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["mutations"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of promises; all without")
    options = parser.parse_args()
    if unknown := set(options.names) - set(MUTATIONS):
        parser.error(f"no promise is called {', '.join(sorted(unknown))}")
    return take_out(options.names) if options.what else attack()


def attack() -> int:
    """All of them in one run."""
    rows = [test for test, of in tests_of_rows("tests/faults") if any(is_outsiders(row) for row in of)]
    named = [promise.test for promise in promises()]
    return run_pytest(ROOT, sorted({*rows, *named}), "-n2", "--dist", "worksteal")


def is_outsiders(row: str) -> bool:
    return row[0] in "AC" or row == "D01"


def take_out(names: Sequence[str]) -> int:
    """Exit 1 when a test does not notice that its guard is gone."""
    found = set()
    for promise in promises():
        if promise.name in (names or MUTATIONS):
            said, why = what_is_said(MUTATIONS[promise.name], promise.test)
            print(f"{said:11}  {promise.name}  {promise.test}  {why}", flush=True)
            found.add(said)
    return int(GREEN in found)


def what_is_said(mutation: Mutation, test: str) -> tuple[str, str]:
    """And why it is red. Not tried where the test is skipped, for want of another user say, or cannot even be collected."""
    with place() as checkout, tempfile.TemporaryFile("w+") as output:
        copy_checkout(checkout)
        mutation.apply(checkout)
        code = run_pytest(checkout, [test], "-n0", "-x", "--tb=short", stdout=output)
        output.seek(0)
        said = output.read()
    if code not in (0, 1):
        print(said, file=sys.stderr)
    if code == 1:
        return RED, next((line[1:].strip()[:200] for line in said.splitlines() if line.startswith("E  ")), "")
    return (GREEN if code == 0 and " passed" in said else NOT_TRIED), ""


if __name__ == "__main__":
    sys.exit(main())
