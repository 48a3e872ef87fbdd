"""The fixtures of the process tests: a daemon's home."""

from tests.process.conftest import home

__all__ = ["home"]
