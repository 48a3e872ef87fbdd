"""pytest runs in a checkout of their own: bounded in time, and nothing that they start is left.

What an old or a broken version leaves behind (a daemon that does not stop, an agent in a session of its own) comes home to us,
as their subreaper, and is killed. Called by the programs `tests.faults` and `tests.attack`, never by a test: who waits for any
child takes those of others.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from tests import ROOT

#: Seconds that a run has, and more for each test in it; and those that it has to end when they are over.
START, EACH, END = 120.0, 65.0, 30.0

#: A copy's own interpreter, beneath it.
PYTHON = Path(".venv", "bin", "python")

_PR_SET_CHILD_SUBREAPER = 36
_TEST = re.compile(r"^(?:async )?def (test_((?:[A-F]\d\d_)*)\w*)", re.MULTILINE)


def tests_of_rows(*folders: str) -> Iterator[tuple[str, frozenset[str]]]:
    """`file::name` of every test there that is called by rows, and those: A03, …."""
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("test_*.py")):
        for name, rows in _TEST.findall(path.read_text()):
            if rows:
                yield f"{path.relative_to(ROOT)}::{name}", frozenset(rows.strip("_").split("_"))


def run_pytest(
    checkout: Path, tests: Sequence[str], *options: str, stdout: IO[bytes] | IO[str] | int | None = None
) -> int:
    """pytest's exit code: 0 all green, 1 some red, else it could not run."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Most of the time of the processes that tests start would go into compiling what they import.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    python = sys.executable if checkout == ROOT else str(checkout / PYTHON)
    command = [python, "-m", "pytest", *options, *tests]
    process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=stdout)
    seconds = START + EACH * len(tests)
    timers = [
        threading.Timer(after, os.kill, (process.pid, number))
        for after, number in ((seconds, signal.SIGTERM), (seconds + END, signal.SIGKILL))
    ]
    for timer in timers:
        timer.start()
    try:
        process.returncode = _wait(process.pid)
    finally:
        for timer in timers:
            timer.cancel()
        _end_what_is_left()
    return process.returncode


def _wait(pid: int) -> int:
    """Its exit code. Whatever else comes home and ends meanwhile is buried: tests wait until it is gone."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _end_what_is_left() -> None:
    while left := psutil.Process().children(recursive=True):
        for process in left:
            process.kill()
        psutil.wait_procs(left)


def give_interpreter(checkout: Path) -> None:
    """With the packages of ours, and of Mozart's only those of that checkout: ours is installed as this one."""
    installed = Path(sysconfig.get_path("purelib"))
    packages = checkout / ".venv" / "lib" / installed.parent.name / "site-packages"
    packages.mkdir(parents=True)
    for entry in installed.iterdir():
        if entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    (packages / "checkout.pth").write_text(f"{checkout}\n")
    (checkout / PYTHON).parent.mkdir()
    real = Path(sys.executable).resolve()
    (checkout / PYTHON).symlink_to(real)
    (checkout / ".venv" / "pyvenv.cfg").write_text(f"home = {real.parent}\n")


@contextmanager
def place() -> Iterator[Path]:
    """For a copy that other users, too, may run: tests of what they may do need that."""
    with tempfile.TemporaryDirectory(prefix="mz") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory, "mozart")


def copy_checkout(to: Path) -> None:
    """What git knows or would take, and what was compiled of it."""
    listed = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True)
    names = [name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to / name)
    for folder in {os.path.dirname(name) for name in names if name.endswith(".py")}:
        if (compiled := ROOT / folder / "__pycache__").is_dir():
            shutil.copytree(compiled, to / folder / "__pycache__")
    give_interpreter(to)
