"""Agents' JSON lines, read leniently: never raises, whatever the bytes.

orjson is strict about lone surrogates and bad UTF-8, both of which real agents print, so what it refuses gets a second
chance with the standard library. Text taken from here goes through `text()` before it is stored or shown.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

#: More than anybody ever used.
MOST = 10**15
#: Dollars of one attempt, at most.
MOST_PRICE = 1e6


def record(line: bytes) -> dict[str, Any] | None:
    """The JSON object on this line, or None."""
    value = parse(line)
    return value if isinstance(value, dict) else None


def parse(line: bytes) -> Any:
    """The JSON value on this line, or None."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(line.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def usual(line: bytes) -> bytes:
    """The line laid out as agents lay theirs out, no spaces and the type first, so that a test of its beginning holds."""
    if line.startswith(b'{"type":"') or not line.lstrip().startswith(b"{"):
        return line
    item = record(line)
    if item is None or "type" not in item:
        return line
    return json.dumps({"type": item["type"]} | item, separators=(",", ":")).encode()


def section(value: Any, *keys: str) -> dict[str, Any]:
    """The object at this path; empty when anything on the way is missing or of another type."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[dict[str, Any]]:
    """The objects in this list; empty when it is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """A string that can be encoded; empty when it is not a string."""
    if not isinstance(value, str):
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace").decode()
    return value


def texts(value: Any) -> list[str]:
    """The strings in this list that are not empty; empty when it is none."""
    return [found for each in value if (found := text(each))] if isinstance(value, list) else []


def number(value: Any) -> float | None:
    """A finite number that is not a boolean, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if abs(result) < float("inf") else None


def price(value: Any) -> float | None:
    """Dollars: never negative, and no more than anybody paid."""
    found = number(value)
    return min(max(0.0, found), MOST_PRICE) if found is not None else None


def count(value: Any) -> int:
    """A number of tokens: whole, never negative, and none that JSON or a database could not hold."""
    found = number(value)
    return int(min(max(0.0, found), MOST)) if found is not None else 0


def decoded(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def last_line(block: str) -> str:
    """The last line with something on it, at most 2,000 characters."""
    for line in reversed(block.split("\n")):
        if stripped := line.strip():
            return stripped[:2000]
    return ""
