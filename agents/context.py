"""How much of a model's context may be filled, and making things fit. Pure.

Tokens are estimated at four characters each, which is too few rather than too many: what is refused here certainly does not
fit. What the service has counted replaces the estimate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

CHARACTERS_PER_TOKEN = 4

Tool = dict[str, Any]


def tokens(value: Any) -> int:
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return -(-len(written) // CHARACTERS_PER_TOKEN)


def cut(said: str, room: int) -> str:
    """`said` in at most `room` tokens, its beginning kept, saying what is missing."""
    if tokens(said) <= room:
        return said
    note = f"\n[cut: {len(said)} characters do not fit into the context]"
    return said[: max(0, room * CHARACTERS_PER_TOKEN - len(note))] + note


def compress(tool: Tool, level: str) -> Tool:
    """A tool's description as short as `ollama.compression_level` says: minimal as it is, moderate the first sentence,
    aggressive also without those of its parameters."""
    if level == "minimal":
        return tool
    function = dict(tool["function"])
    function["description"] = re.split(r"(?<=[.!?])\s|\n", function.get("description") or "", maxsplit=1)[0]
    if level == "aggressive":
        function["parameters"] = _undescribed(function["parameters"])
    return {**tool, "function": function}


def _undescribed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Without the descriptions of its properties; a property may itself be called `description`."""
    properties = schema.get("properties")
    bare = {key: value for key, value in schema.items() if key != "description"}
    if isinstance(properties, dict):
        bare["properties"] = {
            name: _undescribed(value) if isinstance(value, dict) else value for name, value in properties.items()
        }
    return bare


def fitting(tools: Sequence[Tool], prompt: str, room: int) -> list[Tool]:
    """The tools that fit, those that share most words with the prompt first; in their old order."""
    asked = _words(prompt)
    ranked = sorted(tools, key=lambda tool: -len(asked & _words(json.dumps(tool["function"]))))
    chosen = []
    for tool in ranked:
        cost = tokens(tool)
        if cost <= room:
            room -= cost
            chosen.append(tool)
    return [tool for tool in tools if tool in chosen]


def _words(said: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]{3,}", said.lower()))
