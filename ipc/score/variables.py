"""The template variables of a sheet (score-format §3), and how they survive JSON.

JSON has text keys only, but scores write `domains: {1: ..., 2: ...}` and templates look up `domains[instance]`: `encode` and
`decode` carry such maps over. The coordinator builds the built-in ones; the worker lays the score's own over them with `merge`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ipc.score.expand import PlannedSheet, total_stages

if TYPE_CHECKING:
    from ipc.score.schema import Score

BUILT_INS = (
    "sheet_num",
    "total_sheets",
    "start_item",
    "end_item",
    "workspace",
    "stage",
    "instance",
    "fan_count",
    "total_stages",
    "previous_outputs",
    "previous_files",
    "stakes",
    "thinking_method",
    "job_id",
    "job_name",
    "attempt",
    "size",
    "total_items",
)

#: Marks a map whose keys are not all text: `{_ENTRIES: [[key, value], ...]}`.
_ENTRIES = "__entries__"


def built_in(
    score: Score,
    sheet: PlannedSheet,
    total_sheets: int,
    *,
    job_id: str = "",
    attempt: int = 1,
    previous_outputs: Mapping[int, str] | None = None,
    previous_files: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything but the score's own variables, fit for JSON once `previous_outputs` got text keys (`merge` restores them)."""
    return {
        "sheet_num": sheet.n,
        "total_sheets": total_sheets,
        "start_item": sheet.start_item,
        "end_item": sheet.end_item,
        "workspace": score.workspace,
        "stage": sheet.stage,
        "instance": sheet.instance,
        "fan_count": sheet.fan_count,
        "total_stages": total_stages(score.sheet),
        "previous_outputs": {str(n): text for n, text in (previous_outputs or {}).items()},
        "previous_files": dict(previous_files or {}),
        "stakes": score.prompt.stakes or "",
        "thinking_method": score.prompt.thinking_method or "",
        "job_id": job_id,
        "job_name": score.name,
        "attempt": attempt,
        "size": score.sheet.size,
        "total_items": score.sheet.total_items,
    }


def merge(variables: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The built-in variables with the score's own laid over them, as templates and conditions see them."""
    outputs = variables.get("previous_outputs") or {}
    restored = {int(n): text for n, text in outputs.items()}
    return {**variables, "previous_outputs": restored, **decode(own)}


def encode(value: Any) -> Any:
    """What JSON can carry for `value`."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and _ENTRIES not in value:
            return {key: encode(item) for key, item in value.items()}
        return {_ENTRIES: [[key, encode(item)] for key, item in value.items()]}
    return [encode(item) for item in value] if isinstance(value, list) else value


def decode(value: Any) -> Any:
    """What `encode` was given; anything else comes back as it is."""
    if isinstance(value, Mapping):
        entries = value.get(_ENTRIES) if len(value) == 1 else None
        if isinstance(entries, list) and all(map(_is_entry, entries)):
            return {key: decode(item) for key, item in entries}
        return {key: decode(item) for key, item in value.items()}
    return [decode(item) for item in value] if isinstance(value, list) else value


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and not isinstance(entry[0], list | dict)
