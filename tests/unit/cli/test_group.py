"""The end of programs that the CLI itself runs."""

from __future__ import annotations

import subprocess
import sys

#: Says at each kill whether the group's leader still has its number, and what the wait was worth.
_SCRIPT = """
import os, subprocess, sys
from cli import group
tell = lambda event, args: event == "os.killpg" and print(os.path.exists(f"/proc/{args[0]}"))
sys.addaudithook(tell)
process = subprocess.Popen(["/bin/sh", "-c", sys.argv[1]], start_new_session=True)
print(group.finish(process, float(sys.argv[2])), process.returncode, flush=True)
"""


def finish(command: str, patience: float) -> list[str]:
    argv = [sys.executable, "-c", _SCRIPT, command, str(patience)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=40, check=True).stdout.split()


def test_a_group_is_killed_while_its_number_is_its_own() -> None:
    """What is left running holds our stdout: this returns when it is dead."""
    assert finish("sleep 300 & exit 3", 30) == ["True", "True", "3"]


def test_a_program_that_takes_too_long_is_killed() -> None:
    assert finish("sleep 300", 0.05) == ["True", "False", "-9"]
