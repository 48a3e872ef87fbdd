"""`mozart gc`: remove and compress now what the settings would in time."""

from __future__ import annotations

from typing import Annotated, Any

from cli import output, text
from cli.arguments import Option
from cli.daemon import ask_at_length
from cli.options import Json

EXAMPLE = "mozart gc --dry-run\nmozart gc"


def command(
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done; do nothing.")] = False,
    json: Json = False,
) -> int:
    """Free the disk of old logs.

    Finished jobs beyond history_jobs and history_days go, then the oldest logs beyond log_attempt_bytes and
    log_total_bytes, and what is left of complete logs is compressed: what the daemon does in time by its settings. What a
    running agent writes stays.
    """
    answer = ask_at_length("gc", lambda: {"dry_run": dry_run})
    if json:
        output.document(answer)
    else:
        output.say(describe(answer))
    return 0


def describe(answer: dict[str, Any]) -> str:
    would = "would be " if answer["dry_run"] else ""
    rows = [
        [one["action"], one["job"], str(one["files"]), text.size(one["bytes"]), one["why"]] for one in answer["actions"]
    ]
    removed, compressed = text.size(answer["removed_bytes"]), text.size(answer["compressed_bytes"])
    said = f"of {text.size(answer['log_bytes'])} of logs {removed} {would}removed, {compressed} {would}compressed"
    return "\n".join([*([output.table(["", "JOB", "FILES", "SIZE", "WHY"], rows)] if rows else []), said])
