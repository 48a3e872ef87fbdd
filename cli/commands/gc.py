"""`mozart gc`: remove and compress now what the settings would in time."""

from __future__ import annotations

from typing import Annotated, Any

from cli import output, text
from cli.arguments import Option
from cli.daemon import ask_at_length
from cli.options import Json

#: Actions that are listed for a person; of the rest it is said how many they are.
LINES = 50
EXAMPLE = "mozart gc --dry-run\nmozart gc"


def command(
    dry_run: Annotated[bool, Option("--dry-run", help="Show what would be done; do nothing.")] = False,
    json: Json = False,
) -> int:
    """Delete and compress old logs.

    Deletes finished jobs beyond history_jobs and history_days, then the oldest logs beyond log_attempt_bytes and
    log_total_bytes, and compresses the complete logs that are left. The daemon does the same by itself in time. Logs of
    running agents stay.
    """
    answer = ask_at_length("gc", lambda: {"dry_run": dry_run})
    if json:
        output.document(answer)
    else:
        output.say(describe(answer))
    return 0


def describe(answer: dict[str, Any]) -> str:
    remove, compress = ("would remove", "would compress") if answer["dry_run"] else ("removed", "compressed")
    told, more = answer["actions"][:LINES], answer["more"]
    rows = [[one["action"], one["job"], str(one["files"]), text.size(one["bytes"]), one["why"]] for one in told]
    lines = [output.table(["", "JOB", "FILES", "SIZE", "WHY"], rows)] if rows else []
    untold = answer["actions"][LINES:]
    count = len(untold) + more["actions"]
    if count:
        files = more["files"] + sum(one["files"] for one in untold)
        size = more["bytes"] + sum(one["bytes"] for one in untold)
        lines.append(f"… and {count:,} more: {files:,} files, {text.size(size)}")
    lines += _left_alone(answer["not_ours"], answer["more_not_ours"])
    removed, compressed = text.size(answer["removed_bytes"]), text.size(answer["compressed_bytes"])
    lines.append(f"{remove} {removed} of {text.size(answer['log_bytes'])} of logs, {compress} {compressed}")
    return "\n".join(lines)


def _left_alone(paths: list[str], more: int) -> list[str]:
    lines = [f"not ours for certain, left alone: {path}" for path in paths[:LINES]]
    more += len(paths) - len(lines)
    return [*lines, f"… and {more:,} more like these"] if more else lines
