"""Recursive Light: an agent of ours (`agents/recursive_light.py`) asks it."""

from __future__ import annotations

from backends.api import ApiBackend

BACKEND = ApiBackend("recursive_light")
