"""Daemons for the process tests, each in a short directory of its own (a socket's path has 107 bytes at most).

Whatever a test did, at its end nothing may be left: no process, no socket, no half-written file, no traceback.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.process.daemon import Daemon, processes_of, write_score
from tests.process.worker import Foundry, Peer


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Asynchronous tests run on the loop that the daemon's processes run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def home() -> Iterator[Path]:
    """A short MOZART_HOME."""
    with tempfile.TemporaryDirectory(prefix="mz", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture
def start_daemon(home: Path) -> Iterator[Callable[..., Daemon]]:
    """`start_daemon(settings={...}, workers=1)`: a daemon at `home`, checked when the test is over."""
    started: list[Daemon] = []

    def start(settings: dict[str, Any] | None = None, workers: int = 2) -> Daemon:
        daemon = Daemon(home, settings, workers)
        started.append(daemon)
        return daemon.start()

    yield start
    for daemon in started:
        check_end(daemon)


def check_end(daemon: Daemon) -> None:
    try:
        code = daemon.stop()
        printed, left = daemon.printed(), daemon.leftovers()
    finally:
        daemon.remove()
    print(printed)
    assert not left
    assert "Traceback" not in printed
    assert code is not None, "it did not stop"


@pytest.fixture
def cold(home: Path) -> Iterator[Daemon]:
    """A daemon that nobody has started; `mozart run` may. Stopped and checked when the test is over."""
    daemon = Daemon(home)
    yield daemon
    if processes_of(home):
        daemon.mozartd("stop", "--force")
    left = daemon.leftovers()
    daemon.remove()
    assert not left


@pytest.fixture
def daemon(start_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon with two workers."""
    return start_daemon()


@pytest.fixture(scope="session")
def lasting_daemon() -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="mz", ignore_cleanup_errors=True) as directory:
        daemon = Daemon(Path(directory))
        yield daemon.start()
        check_end(daemon)


@pytest.fixture
def shared_daemon(lasting_daemon: Daemon) -> Daemon:
    """One daemon for all tests that neither kill nor configure it: starting it costs more than most of them."""
    assert lasting_daemon.is_ready()
    return lasting_daemon


@pytest.fixture
def calm_daemon(shared_daemon: Daemon) -> Iterator[Daemon]:
    """The same, for tests that hold, pause or leave things running: when one is over, nothing of that is left."""
    yield shared_daemon
    shared_daemon.calm()


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., Path]:
    """`score("say one", "say two", parallel={...})`: a score file, one sheet per script of the scripted agent."""

    def write(*scripts: str, **fields: Any) -> Path:
        return write_score(tmp_path, *scripts, **fields)

    return write


@pytest.fixture(scope="session")
def foundry() -> Iterator[Foundry]:
    """Where workers are forked from, with everything imported."""
    foundry = Foundry()
    yield foundry
    foundry.close()


@pytest.fixture
def start_peer(home: Path, foundry: Foundry) -> Iterator[Callable[..., Peer]]:
    """`start_peer(beat=..., grace=..., environment=...)`: a worker, checked when the test is over."""
    started: list[Peer] = []

    def start(**how: Any) -> Peer:
        started.append(Peer(home, foundry, **how))
        return started[-1]

    yield start
    for peer in started:
        peer.close()


@pytest.fixture
def peer(start_peer: Callable[..., Peer]) -> Peer:
    return start_peer()
