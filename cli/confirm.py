"""What the daemon wants a yes for: a terminal is asked, everybody else types --yes.

Used by verbs that can lose something. The daemon says what (`needs_yes`); nothing was done until then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from cli import output
from ipc.errors import MozartError


def with_yes(ask: Callable[[dict[str, Any]], Any], params: dict[str, Any], yes: bool, json: bool = False) -> Any:
    """The answer to `ask(params)`, with a yes where one is needed and given."""
    try:
        return ask({**params, **({"yes": True} if yes else {})})
    except MozartError as error:
        if error.code != "needs_yes" or json or not (sys.stdin and sys.stdin.isatty() and output.is_terminal()):
            raise
        if not _agrees(error.message.partition("without a yes: ")[2]):
            raise MozartError("declined", "cannot go on without a yes: nothing was changed", "") from None
    return ask({**params, "yes": True})


def _agrees(what: str) -> bool:
    output.tell(what)
    try:
        return input("continue? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
