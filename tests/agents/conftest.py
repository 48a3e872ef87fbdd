"""One daemon and one server of model APIs for all tests here, in a network namespace where nothing else exists."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import ROOT
from tests.agents import install
from tests.agents.programs import Program
from tests.agents.scene import Apis, Scene
from tests.process.conftest import check_end
from tests.process.daemon import Daemon

SERVER = ROOT / "tests" / "fakes" / "model_apis.py"
#: Seconds that all installations together may take. `make test-agents` has made them before.
PATIENCE = 90.0


@cache
def isolation() -> tuple[str, ...]:
    """What to put before a command so that it has a loopback device and no other; empty where that is not allowed."""
    for command in (("unshare", "-n"), ("unshare", "-rn")):
        with contextlib.suppress(OSError):
            if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
                return command
    return ()


def entering(pid: int) -> tuple[str, ...]:
    """What to put before a command that is to join the namespace of this process."""
    if not isolation():
        return ()
    as_user = ("-U", "--preserve-credentials") if "-rn" in isolation() else ()
    return ("nsenter", "-t", str(pid), *as_user, "-n", "--")


@pytest.fixture(scope="session")
def apis() -> Iterator[Apis]:
    with tempfile.TemporaryDirectory(prefix="mza", ignore_cleanup_errors=True) as directory:
        command = [*isolation(), sys.executable, "-I", "-S", str(SERVER), directory]
        with subprocess.Popen(
            command, env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdin
            assert server.stdout
            yield Apis(server.stdout.readline().strip(), Path(directory), entering(server.pid))
            server.stdin.close()
            assert server.wait(20) == 0


class Programs:
    """Where each program is, or why it is not there. A registry that could not give one is not asked for another."""

    def __init__(self) -> None:
        self._known: dict[str, Path | str] = {}
        self._left = PATIENCE
        self._failed = ""

    def find(self, name: str) -> Path | str:
        if name not in self._known:
            self._known[name] = self._install(name)
        return self._known[name]

    def _install(self, name: str) -> Path | str:
        if self._failed and not install.place(name).is_dir():
            return f"{name} is not installed either: {self._failed}"
        began = time.monotonic()
        try:
            return install.installed(name, max(self._left, 1.0))
        except install.UnavailableError as error:
            self._failed = str(error)
            return self._failed
        finally:
            self._left -= time.monotonic() - began


@pytest.fixture(scope="session")
def programs() -> Programs:
    return Programs()


@pytest.fixture(scope="session")
def lonely_daemon(apis: Apis) -> Iterator[Daemon]:
    """Its PATH has every program that is here, and nothing of this machine's besides the system's."""
    with tempfile.TemporaryDirectory(prefix="mz", ignore_cleanup_errors=True) as directory:
        daemon = Daemon(Path(directory))
        daemon.prefix = apis.entering
        yield daemon
        if daemon.process is not None:
            check_end(daemon)


@pytest.fixture
def scene(apis: Apis, lonely_daemon: Daemon, programs: Programs, tmp_path: Path) -> Callable[[Program], Scene]:
    """`scene(CLAUDE)`: that program, sent to the server, in a HOME of its own."""

    def arrange(program: Program) -> Scene:
        found = programs.find(program.name)
        if isinstance(found, str):
            pytest.skip(found)
        if lonely_daemon.process is None:
            lonely_daemon.environment["PATH"] = ":".join((*paths(), lonely_daemon.environment["PATH"]))
            lonely_daemon.start()
        return Scene(program, apis, lonely_daemon, tmp_path)

    return arrange


def paths() -> list[str]:
    """Of the programs, and of the node that two of them are scripts for."""
    node = shutil.which("node")
    return [*(str(install.executables(name)) for name in install.NAMES), *([str(Path(node).parent)] if node else [])]
