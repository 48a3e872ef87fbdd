"""The fixtures of the process tests: here, too, everything is a real process."""

from __future__ import annotations

from tests.process.conftest import (
    calm_daemon,
    cold,
    daemon,
    foundry,
    home,
    lasting_daemon,
    peer,
    pytest_asyncio_loop_factories,
    score,
    shared_daemon,
    start_daemon,
    start_peer,
)

__all__ = [
    "calm_daemon",
    "cold",
    "daemon",
    "foundry",
    "home",
    "lasting_daemon",
    "peer",
    "pytest_asyncio_loop_factories",
    "score",
    "shared_daemon",
    "start_daemon",
    "start_peer",
]
