"""The fixtures of the process tests: a daemon, its home, scores."""

from tests.process.conftest import daemon, home, score, start_daemon

__all__ = ["daemon", "home", "score", "start_daemon"]
