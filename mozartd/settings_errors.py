"""What is wrong with the settings, in our own words: every mistake, its place, the nearest name. Pure.

Called by `settings` when something does not load, and only then imported. No sentence of a library reaches a person.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ipc.errors import EXIT_USAGE, MozartError
from ipc.score.explain import UNKNOWN_KEY, allowed, section_keys
from ipc.score.problems import Field, dotted, shown


@dataclass(frozen=True, slots=True)
class Mistake:
    """One setting that cannot be used, by its path: `admission.load`."""

    path: Field
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where the settings were read from."""

    path: str
    tree: Any
    """The file's YAML nodes; None when there is no file."""
    model: type[BaseModel]
    variables: Mapping[str, str]
    """The environment's variables by the setting that they set."""


def refusal(source: Source, mistakes: Sequence[Mistake]) -> MozartError:
    """One error that names every mistake, each on a line of its own."""
    if len(mistakes) == 1:
        return MozartError("E301", _sentence(source, mistakes[0]), mistakes[0].hint, EXIT_USAGE)
    ordered = sorted(mistakes, key=lambda one: _line(source.tree, one.path))
    lines = [_sentence(source, one) + (f"\n  hint: {one.hint}" if one.hint else "") for one in ordered]
    return MozartError("E301", "\n".join(lines), "", EXIT_USAGE)


def _sentence(source: Source, one: Mistake) -> str:
    if variable := source.variables.get(str(one.path[0])):
        return f"cannot use {variable} from the environment: {one.reason}"
    line = _line(source.tree, one.path)
    where = f"{source.path}:{line}" if line else source.path
    return f"cannot use the setting {dotted(one.path)} in {where}: {one.reason}"


def _line(tree: Any, path: Field) -> int:
    """The line, from 1, of the deepest part of `path` that was written; 0 when the file holds none of it."""
    steps = list(_walk(tree, path))
    return steps[-1][0].start_mark.line + 1 if steps else 0


def _written(tree: Any, path: Field) -> str | None:
    """The value as it was typed: 0777, not 511. None for what is no scalar, or not in the file."""
    steps = list(_walk(tree, path))
    whole = len(steps) == len(path) and isinstance(steps[-1][1], yaml.ScalarNode)
    return steps[-1][1].value if whole else None


def _walk(node: Any, path: Field) -> Iterator[tuple[Any, Any]]:
    """The key and the value of each part of `path` that is in the file."""
    for part in path:
        step = next(_steps(node, part), None)
        if step is None:
            return
        yield step
        node = step[1]


def _steps(node: Any, part: str | int) -> Iterator[tuple[Any, Any]]:
    """The key and value of `node` that `part` means."""
    if isinstance(node, yaml.MappingNode):
        yield from ((key, value) for key, value in node.value if str(key.value) == str(part))
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        yield from ((item, item) for item in node.value[part : part + 1])


def unknown(source: Source, key: str) -> Mistake:
    return Mistake((key,), "unknown setting", _nearest(key, list(source.model.model_fields)))


def explained(source: Source, detail: ErrorDetails) -> Mistake:
    """One of pydantic's errors."""
    path = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] in UNKNOWN_KEY:
        known = section_keys(source.model.model_json_schema(), path[:-1])
        return Mistake(path, "unknown setting", _nearest(str(path[-1]), known))
    found = _written(source.tree, path) or shown(detail["input"])
    return Mistake(path, _reason(detail, found), _description(source.model, path))


def _reason(detail: ErrorDetails, found: str) -> str:
    context: dict[str, Any] = detail.get("ctx") or {}
    if detail["type"] == "missing":
        return "it is required"
    rule = str(context["error"]) if detail["type"] == "value_error" else allowed(detail["type"], context)
    return f"{rule or 'cannot be read'}; found {found}"


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"


def _description(model: type[BaseModel], path: Field) -> str:
    field = model.model_fields.get(str(path[0]))
    return f"{path[0]}: {field.description}" if field else ""


def variables_of(model: type[BaseModel], prefix: str) -> dict[str, str]:
    """The environment's variables, by the setting that each sets."""
    names = {name: f"{prefix}{name.upper()}" for name in model.model_fields}
    return {name: variable for name, variable in names.items() if variable in os.environ}
