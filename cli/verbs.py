"""The verbs' names, in the order of the help, and where each is."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

VERBS = (
    "run", "status", "list", "logs", "events", "wait", "cancel", "pause", "resume", "retry", "modify", "priority", "reorder",
    "limits", "hold", "group", "gc", "daemon", "validate", "plan", "schema", "backends", "completion",
)  # fmt: skip

#: Set by a shell's completion script, as `mozart completion` prints it.
COMPLETION = "_MOZART_COMPLETE"
#: The same of `mozartd`.
DAEMON_COMPLETION = "_MOZARTD_COMPLETE"


def find_verb(name: str) -> ModuleType:
    """The module of this verb alone: what it imports is what the verb costs at start-up."""
    return import_module(f"cli.commands.{name}")
