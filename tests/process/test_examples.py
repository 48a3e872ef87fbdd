"""The examples are true: each is without a fault, and hello.yaml plays as its comments say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.process.daemon import Daemon

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid(cold: Daemon, path: Path) -> None:
    done = cold.mozart("validate", path, "--json")
    problems = [p for p in json.loads(done.stdout)["problems"] if p["code"] != "V210"]  # no claude on this machine
    assert not problems
    assert done.returncode == 0


def test_the_score_in_the_readme_is_valid(cold: Daemon, tmp_path: Path) -> None:
    blocks = re.findall(r"(?ms)^```yaml\n(name: .*?)^```$", (ROOT / "README.md").read_text())
    assert len(blocks) == 1
    (tmp_path / "readme.yaml").write_text(blocks[0])
    test_an_example_is_valid(cold, tmp_path / "readme.yaml")


def test_hello_plays_as_it_says(daemon: Daemon, tmp_path: Path) -> None:
    done = daemon.mozart("run", ROOT / "examples" / "hello.yaml", "--workspace", tmp_path / "workspace")
    assert done.returncode == 0, done.stderr
    sheets = daemon.job("hello")["sheets"]
    assert [sheet["state"] for sheet in sheets] == ["completed"] * 8
    modes = {sheet["n"]: [attempt["mode"] for attempt in sheet["attempts"]] for sheet in sheets}
    assert modes == {n: ["normal", "completion"] if n == 7 else ["normal"] for n in range(1, 9)}
    report = (tmp_path / "workspace" / "report.md").read_text()
    assert len(re.findall(r"(?m)^\| [a-z]+ \| \d", report)) == 5
    assert "## The newest changes" in report


def test_the_demo_leaves_nothing_running(cold: Daemon) -> None:
    """As `make demo` runs it, with the two commands where a user has them."""
    environment = {**cold.environment, "MOZART_DEMO_SCRIPTS": str(cold.scripts)}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"], env=environment, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert "# A portrait of this repository" in done.stdout
    assert done.stdout.endswith("Nothing was left running.\n")
