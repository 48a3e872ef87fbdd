"""The arrows: cli → ipc ← mozartd, workers → ipc, backends; ipc, backends and agents import nothing of ours."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT
from tests.conventions.tree import PACKAGES, files, imports, name

MAY_IMPORT = {
    "ipc": {"ipc"},
    "agents": {"agents"},
    "backends": {"backends"},
    "workers": {"workers", "ipc", "backends"},
    "cli": {"cli", "ipc", "backends"},
    "mozartd": {"mozartd", "ipc"},
}
#: The one file of a package that may name another package, and which.
EXCEPTIONS = {"mozartd/main.py": {"workers"}, "mozartd/entry.py": {"agents", "cli"}}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    wrong = []
    for path in files(package):
        allowed = MAY_IMPORT[package] | EXCEPTIONS.get(name(path), set())
        for module, line in imports(path):
            top = module.partition(".")[0]
            if top in (*PACKAGES, "tests") and top not in allowed:
                wrong.append(f"{name(path)}:{line} imports {module}")
    assert not wrong


def test_product_code_imports_no_test_tools() -> None:
    tools = {"pytest", "hypothesis", "unittest", "tests"}
    wrong = [
        f"{name(path)}:{line}"
        for path in files(*PACKAGES)
        for module, line in imports(path)
        if module.partition(".")[0] in tools
    ]
    assert not wrong


#: What costs more than the whole of the rest; a verb that only asks the daemon does not need it.
HEAVY = {
    "asyncio",
    "jinja2",
    "pydantic",
    "pydantic_settings",
    "rich",
    "uvloop",
    "yaml",
    "aiosqlite",
    "psutil",
    "hyperscan",
}
ASKING = [["status"], ["status", "x"], ["list"], ["logs", "x"], ["wait", "x"], ["cancel", "x"], ["retry", "x"]]


@pytest.mark.parametrize("arguments", ASKING, ids=" ".join)
def test_verbs_that_only_ask_start_fast(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing listens there, so each asks, says so and exits 4; what it had imported by then it always imports."""
    script = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('IMPORTED', *sys.modules))\n"
        f"sys.argv = ['mozart', *{arguments!r}]\n"
        "from mozartd.entry import mozart\n"
        "sys.exit(mozart())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"MOZART_HOME": str(tmp_path_factory.mktemp("home")), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 4, done.stderr
    imported = set(done.stdout.partition("IMPORTED ")[2].split())
    assert "ipc.client" in imported
    assert not imported & HEAVY
