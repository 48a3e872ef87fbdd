"""A model of Ollama's, with MCP servers' tools: an agent of ours (`agents/ollama.py`) asks it."""

from __future__ import annotations

from backends.api import ApiBackend

BACKEND = ApiBackend("ollama")
