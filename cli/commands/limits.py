"""`mozart limits`: the holds on backends, and their end."""

from __future__ import annotations

import time
from typing import Annotated, Any

from cli import completions, output, text
from cli.arguments import Argument
from cli.daemon import ask
from cli.options import Json
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart limits\nmozart limits clear claude_cli"


def command(
    words: Annotated[
        list[str] | None,
        Argument(
            "`clear SCOPE` ends a hold.", metavar="[clear SCOPE]", complete=completions.words(clear=completions.held)
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Show what is held, why, and until when.

    A scope is backend/account/model; `clear` takes a scope or the beginning of one.
    """
    if not words:
        answer = ask("limits", {})
    elif len(words) == 2 and words[0] == "clear":
        answer = ask("limits.clear", {"scope": words[1]})
    else:
        raise MozartError(
            "usage", f"cannot understand `limits {' '.join(words)}`", "mozart limits clear SCOPE", EXIT_USAGE
        )
    if json:
        output.document(answer)
    else:
        output.say(describe(answer["holds"]) if not words else _cleared(answer["holds"]))
    return 0


def describe(holds: list[dict[str, Any]]) -> str:
    if not holds:
        return "nothing is held"
    now = time.time()
    rows = [
        [hold["name"], text.until(hold["until"], now).removeprefix("until ") or "until cleared", str(hold["waiting"]),
         _forecast(hold["forecast"]), text.first_line(hold["reason"]) + "; not saved" * hold.get("unsaved", False)]
        for hold in holds
    ]  # fmt: skip
    return output.table(["SCOPE", "UNTIL", "WAITING", "FORECAST", "REASON"], rows)


def _forecast(found: dict[str, Any]) -> str:
    """`60 calls, 1,200,000 tokens in 5h`: what its windows were seen to hold."""
    parts = [f"{found[what]:,} {what}" for what in ("calls", "tokens") if found[what]]
    return ", ".join(parts) + (f" in {text.duration(found['seconds'])}" if parts and found["seconds"] else "")


def _cleared(holds: list[dict[str, Any]]) -> str:
    return "\n".join(f"cleared {hold['name']}" for hold in holds)
