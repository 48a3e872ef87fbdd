"""Where output goes: bytes to stdout in whole blocks, documents as JSON, sentences for people, and a plain table.

Every verb prints through here, so that a closed pipe is one exception, caught once (`cli.main`), colour is decided once (on a
terminal, unless NO_COLOR is set or TERM is dumb), and what others wrote reaches a person through `ipc.shown` only.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from ipc import shown, stdout
from ipc.errors import MozartError
from ipc.stdout import STDOUT_FD, OutputError, PipeClosed, write

__all__ = ["STDOUT_FD", "OutputError", "PipeClosed", "write"]

BOLD, DIM, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = "1", "2", "31", "32", "33", "34", "35", "36"

_SGR = re.compile(r"\x1b\[[0-9;]*m")


def say(text: str) -> None:
    """A line (or several) on stdout, for people."""
    write(f"{shown.sentence(text, wants_colour())}\n".encode(errors="replace"))


def tell(text: str) -> None:
    """A line for the person, on stderr; lost quietly when nobody can see it."""
    stdout.tell(f"{shown.sentence(text, wants_colour(2))}\n".encode(errors="replace"))


def document(value: Any) -> None:
    """One JSON document and a newline, never wrapped, coloured or cut; a terminal shows it, too, and is not told anything."""
    import orjson  # only verbs that print JSON pay for it here; asking the daemon has loaded it anyway

    write(shown.json_bytes(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)))


def complain(error: MozartError, program: str = "mozart: ") -> None:
    """What could not be done, and what helps."""
    tell(f"{program}{error.message}")
    if error.hint:
        tell(f"hint: {error.hint}")


def error_document(error: MozartError) -> dict[str, Any]:
    found: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    problems = getattr(error, "problems", None)  # a ScoreError's; its class is not imported by verbs that only ask
    return {**found, "problems": [problem.as_json() for problem in problems]} if problems else found


def is_terminal(fd: int = STDOUT_FD) -> bool:
    return os.isatty(fd)


def wants_colour(fd: int = STDOUT_FD) -> bool:
    return is_terminal(fd) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, *codes: str) -> str:
    """`text` in these colours when stdout shows colours."""
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes and text and wants_colour() else text


def width_of(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    plain = _SGR.sub("", text) if "\x1b" in text else text
    if plain.isascii():
        return len(plain)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in plain)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned to the left, two spaces between; empty columns are left out."""
    used = [i for i in range(len(header)) if any(row[i] for row in rows)]
    lines = [[header[i] for i in used], *([shown.cell(row[i], colours=True) for i in used] for row in rows)]
    widths = [max(width_of(line[i]) for line in lines) for i in range(len(used))]
    text = ["  ".join(_pad(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([paint(text[0], DIM), *text[1:]])


def _pad(cell: str, width: int) -> str:
    return cell + " " * (width - width_of(cell))
