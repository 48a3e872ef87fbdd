"""What a shell may offer for a word that is being typed: jobs, scores, scopes, backends, groups.

Each function takes the beginning of the word and gives (word, what it is); nothing when the daemon is not there: a key that is
pressed in a shell starts nothing and prints no error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from ipc.priorities import WORDS

Found = list[tuple[str, str]]

_SCORE_ENDINGS = (".yaml", ".yml")


def jobs(incomplete: str) -> Found:
    """Newest first."""
    found = _ask("list", {"states": [], "all": True, "limit": 200})
    return _beginning(incomplete, ((job["id"], job["state"]) for job in found.get("jobs", ())))


def scores(incomplete: str) -> Found:
    """YAML files and the folders that lead to them."""
    folder, _, beginning = incomplete.rpartition("/")
    lead = incomplete[: len(incomplete) - len(beginning)]
    try:
        entries = sorted(
            os.scandir(os.path.expanduser(folder) if folder else lead or "."), key=lambda entry: entry.name
        )
    except OSError:
        return []
    hidden = beginning.startswith(".")
    shown = [
        entry for entry in entries if entry.name.startswith(beginning) and (hidden or not entry.name.startswith("."))
    ]
    folders = [(f"{lead}{entry.name}/", "folder") for entry in shown if entry.is_dir()]
    return folders + [(f"{lead}{entry.name}", "score") for entry in shown if entry.name.endswith(_SCORE_ENDINGS)]


def backends(incomplete: str) -> Found:
    from cli import machine

    return _beginning(incomplete, ((name, "backend") for name in machine.names()))


def scopes(incomplete: str) -> Found:
    """What is held now, then every backend."""
    return _beginning(incomplete, ((hold["name"], "held") for hold in _holds())) + backends(incomplete)


def held(incomplete: str) -> Found:
    return _beginning(incomplete, ((hold["name"], hold["reason"]) for hold in _holds()))


def groups(incomplete: str) -> Found:
    found = _ask("group.list", {}).get("groups", ())
    return _beginning(incomplete, ((group["name"], f"at most {group['parallel']} at once") for group in found))


def priorities(incomplete: str) -> Found:
    return _beginning(incomplete, ((word, str(number)) for word, number in WORDS.items()))


def words(**known: Callable[[str], Found] | None) -> Callable[[Any, str], Found]:
    """For verbs whose arguments are `clear SCOPE`, `check NAME`: the first word, then what belongs to it."""

    def complete(ctx: Any, incomplete: str) -> Found:
        before = ctx.params.get("words") or ()
        if not before:
            return _beginning(incomplete, ((word, "") for word in known))
        follow = known.get(before[0])
        return follow(incomplete) if follow is not None and len(before) == 1 else []

    return complete


def _beginning(incomplete: str, found: Iterable[tuple[str, str]]) -> Found:
    return [(word, what) for word, what in found if word.startswith(incomplete)]


def _holds() -> list[dict[str, Any]]:
    holds: list[dict[str, Any]] = _ask("limits", {}).get("holds", [])
    return holds


def _ask(method: str, params: dict[str, Any]) -> dict[str, Any]:
    from cli.daemon import ask
    from ipc.errors import MozartError

    try:
        return dict(ask(method, params))
    except MozartError:
        return {}
