"""The fixtures of the process tests: a daemon, its home, scores. And what a daemon tells systemd."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.conftest import daemon, home, score, start_daemon

__all__ = ["daemon", "home", "score", "start_daemon", "statuses"]


@pytest.fixture
def statuses(home: Path) -> Iterator[Callable[[], list[str]]]:
    """What systemd is told in STATUS, by a daemon whose NOTIFY_SOCKET is `home / "notify"`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(home / "notify"))
        systemd.setblocking(False)
        told: list[str] = []

        def read() -> list[str]:
            try:
                while True:
                    lines = systemd.recv(65536).decode().splitlines()
                    told.extend(line.removeprefix("STATUS=") for line in lines if line.startswith("STATUS="))
            except BlockingIOError:
                return told

        yield read
