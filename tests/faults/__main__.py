"""Which faults are mended: `python -m tests.faults [ROW …] [--now]` (`make faults`).

For every test that is called by a row (`test_A03_…`): what it says of the commit that had the faults, and what it says now.
A test that is green on both shows nothing, and is marked. `--now` leaves the old commit out. Exit 1 when a row is red now.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from tests import ROOT

#: The commit that was attacked.
BASE = "3c8e612"

ROW = re.compile(r"\btest_([A-F]\d\d)_")

#: What a test came to, by "file::name": passed, failed, skipped.
Results = dict[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="such as A03; all without")
    parser.add_argument("--now", action="store_true", help="leave out the commit that had the faults")
    options = parser.parse_args()
    now = run(ROOT, options.rows)
    before = {} if options.now else run_on_base(options.rows)
    print("\n".join(table(now, before)))
    return int(any(result == "failed" for result in now.values()))


def run(checkout: Path, rows: list[str]) -> Results:
    """The tests of `checkout`, each file by itself: on the old commit one that cannot be imported must not hide the others."""
    with tempfile.TemporaryDirectory(prefix="mz") as directory:
        report = Path(directory) / "report.xml"
        chosen = ["-k", " or ".join(f"test_{row}_" for row in rows) or "test_"]
        arguments = ["-n2", "--dist", "worksteal", "--continue-on-collection-errors", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", "tests/faults", "tests/unit", "tests/process", *arguments, *chosen]
        subprocess.run(command, cwd=checkout, stdout=sys.stderr, check=False)
        return dict(results(report))


def results(report: Path) -> Iterator[tuple[str, str]]:
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if ROW.search(name):
            kinds = {child.tag for child in case}
            yield name, "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"


def run_on_base(rows: list[str]) -> Results:
    """The old product under the tests of now."""
    with tempfile.TemporaryDirectory(prefix="mz") as directory:
        checkout = Path(directory) / "mozart"
        subprocess.run(["git", "clone", "--quiet", "--shared", "--no-checkout", ROOT, checkout], check=True)
        subprocess.run(["git", "checkout", "--quiet", BASE], cwd=checkout, check=True)
        shutil.rmtree(checkout / "tests")
        shutil.copytree(ROOT / "tests", checkout / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", checkout)
        return run(checkout, rows)


def table(now: Results, before: Results) -> Iterator[str]:
    width = max(map(len, now), default=0)
    for name in sorted(now, key=lambda name: (row_of(name), name)):
        # A test that could not even be collected there is red there.
        old = before.get(name, "failed") if before else "-"
        mark = "" if old != "passed" else "  shows nothing: it passes there, too"
        yield f"{row_of(name)}  {name:<{width}}  {old:<7}  {now[name]}{mark}"


def row_of(name: str) -> str:
    found = ROW.search(name)
    assert found, name
    return found[1]


if __name__ == "__main__":
    sys.exit(main())
