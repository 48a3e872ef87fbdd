"""Which faults are mended: `python -m tests.faults [ROW …] [--now]` (`make faults`).

For every test that is called by a row (`test_A03_…`): what it says of the commit that had the faults, and what it says now.
A test that is green on both shows nothing, and is listed. `--now` leaves the old commit out. Exit 1 when a row is red now.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from tests import ROOT
from tests.apart import give_interpreter, place, run_pytest, tests_of_rows

#: The commit that was attacked.
BASE = "3c8e612"

ROW = re.compile(r"\btest_((?:[A-F]\d\d_)+)")

#: What a test came to, by "file::name": passed, failed, skipped.
Results = dict[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="such as A03; all without")
    parser.add_argument("--now", action="store_true", help="leave out the commit that had the faults")
    options = parser.parse_args()
    chosen = [test for test, of in tests_of_rows("tests") if not options.rows or of.intersection(options.rows)]
    if not chosen:
        parser.error(f"there is no test of {', '.join(options.rows)}")
    now = run(ROOT, chosen)
    before = None if options.now else run_on_base(chosen)
    print("\n".join(table(now, before)))
    return int(any(result != "skipped" and result != "passed" for result in now.values()))


def run(checkout: Path, tests: Sequence[str]) -> Results:
    """What they come to. On the old commit one file that cannot be imported hides only its own."""
    with tempfile.TemporaryDirectory(prefix="mz") as directory:
        report = Path(directory) / "report.xml"
        options = [
            "-n2",
            "--dist",
            "worksteal",
            "--tb=short",
            "--continue-on-collection-errors",
            f"--junitxml={report}",
        ]
        code = run_pytest(checkout, tests, *options, stdout=sys.stderr)
        if not report.exists():
            sys.exit(f"pytest cannot run in {checkout}: exit {code}")
        return dict(results(report))


def results(report: Path) -> Iterator[tuple[str, str]]:
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if ROW.search(name):
            kinds = {child.tag for child in case}
            yield name, "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"


def run_on_base(tests: Sequence[str]) -> Results | None:
    """The old product under the tests of now; None where that commit is not here."""
    if subprocess.run(["git", "cat-file", "-e", f"{BASE}^{{commit}}"], cwd=ROOT, stderr=subprocess.DEVNULL).returncode:
        print(f"the commit {BASE} is not here: `git fetch --unshallow` brings it", file=sys.stderr)
        return None
    with place() as checkout:
        subprocess.run(["git", "clone", "--quiet", "--shared", "--no-checkout", ROOT, checkout], check=True)
        subprocess.run(["git", "checkout", "--quiet", BASE], cwd=checkout, check=True)
        shutil.rmtree(checkout / "tests")
        shutil.copytree(ROOT / "tests", checkout / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", checkout)
        give_interpreter(checkout)
        return run(checkout, tests)


def table(now: Results, before: Results | None) -> Iterator[str]:
    width = max(map(len, now), default=0)
    shows_nothing = []
    for name in sorted(now, key=lambda name: (row_of(name), name)):
        # What could not even be collected or finished there.
        old = "-" if before is None else before.get(name, "not run")
        yield f"{row_of(name)}  {name:<{width}}  {old:<7}  {now[name]}"
        if old == "passed":
            shows_nothing.append(name)
    if shows_nothing:
        yield f"\n{len(shows_nothing)} pass on {BASE}, too, and show nothing:"
        yield from shows_nothing


def row_of(name: str) -> str:
    """The first, of several."""
    found = ROW.search(name)
    assert found, name
    return found[1][:3]


if __name__ == "__main__":
    sys.exit(main())
