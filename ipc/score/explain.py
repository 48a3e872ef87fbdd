"""pydantic's errors as problems: the field as it is written, where it stands, what was found, what is allowed.

Pure. `load` calls it when a score does not validate.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic_core import ErrorDetails

from ipc.score.document import Document, find_key
from ipc.score.problems import ERROR, Field, Problem, dotted, nearest, shown
from ipc.score.schema import Score

#: pydantic's names for a key that a section does not take: a word, or a number.
UNKNOWN_KEY = ("extra_forbidden", "invalid_key")


def written(data: Any, location: Field) -> Field:
    """The part of pydantic's location that is really in the file: without the names of union members and such."""
    path: list[str | int] = []
    for part in location:
        key = find_key(data, part)
        if key is not None:
            path.append(key)
            data = data[key]
    return tuple(path)


def explained(document: Document, detail: ErrorDetails, severity: str = ERROR) -> Iterator[Problem]:
    path = written(document.data, detail["loc"])
    context: dict[str, Any] = detail.get("ctx") or {}
    if detail["type"] == "faults":
        for code, below, message, hint in context["faults"]:
            yield document.problem(code, severity, (*path, *below), message, hint)
        return
    code, message, hint = _explain(detail, path, context)
    if detail["type"] == "string_type" and (text := document.text_at(path)):
        message, hint = message.replace(shown(detail["input"]), text), f'quote it: "{text}"'
    if detail["type"] == "missing":
        path = (*path, detail["loc"][-1])
    yield document.problem(code, severity, path, message, hint)


def _explain(detail: ErrorDetails, path: Field, context: dict[str, Any]) -> tuple[str, str, str]:
    """Code, sentence and hint for one of pydantic's errors."""
    kind, name = detail["type"], dotted(path)
    if kind == "missing":
        name = dotted((*path, detail["loc"][-1]))
        return "E302", f"missing required field `{name}`", _EXAMPLES.get(name, f"add `{detail['loc'][-1]}: …`")
    if kind in UNKNOWN_KEY:
        return _explain_unknown(path)
    if kind == "string_pattern_mismatch" and not str(detail["input"]).strip():
        return "E301", f"{name} must not be empty", _HINTS.get(name, "")
    bound = allowed(kind, context) or _plain(detail["msg"])
    found = shown(detail["input"])
    hint = (
        _HINTS.get(name, "")
        if any(bound in context for bound in _BOUNDS) or "short" in kind or "pattern" in kind
        else ""
    )
    if kind == "literal_error":
        near = nearest(str(detail["input"]), context["expected"].replace("'", "").replace(" or ", ", ").split(", "))
        hint = f"did you mean {near!r}?" if near else ""
    elif kind == "string_type" and isinstance(detail["input"], int | float):
        hint = f'quote it: "{detail["input"]}"'
    elif kind.startswith("model_") and isinstance(detail["input"], bool):
        hint = f"write `{path[-1] if path else name}: {{enabled: {shown(detail['input'])}}}`"
    elif kind.startswith("int_") and not hint:
        hint = f"write it in digits, as in `{path[-1] if path else name}: 3`"
    code = kind if kind.startswith("V") else "E301"
    return code, f"{name} {bound}, found {found}", hint


_EXAMPLES = {
    "name": "write `name: my-score`",
    "sheet": "write `sheet: {size: 1, total_items: 1}` for one sheet",
    "prompt": "write `prompt: {template: …}`, or `prompt: {}` for a backend that needs none",
}
_HINTS = {"sheet.total_items": "a score has at least one sheet", "name": "the name is one line of 1 to 200 characters"}
_KINDS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "finite_number": "must be a finite number",
}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "max_length": "no longer than"}


def allowed(kind: str, context: dict[str, Any]) -> str:
    """What a value must be, by pydantic's name for the mistake; empty for one that has no words here. Of settings, too."""
    if kind in _KINDS:
        return _KINDS[kind]
    if kind == "literal_error":
        return f"must be one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return (
            f"must match {context['pattern']}"
            if len(context["pattern"]) < 30
            else "contains characters that are not allowed"
        )
    for bound, words in _BOUNDS.items():
        if bound in context:
            return f"must be {words} {context[bound]:g}"
    return ""


def _plain(message: str) -> str:
    return message[:1].lower() + message[1:]


def _explain_unknown(path: Field) -> tuple[str, str, str]:
    known = known_keys(path[:-1])
    near = nearest(str(path[-1]), known)
    homes = [] if near or path[:-1] else _sections_with(str(path[-1]))
    hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(sorted(known))}"
    if homes:
        hint = f"write it below `{homes[0]}:`" if len(homes) == 1 else f"it belongs below one of {', '.join(homes)}"
    return "V108", f"unknown key {dotted(path)!r}", hint


def _sections_with(name: str) -> list[str]:
    """The sections of a score that take this key, those first that are meant most."""
    found = [section for section in known_keys(()) if name in known_keys((section,))]
    return sorted(found, key=lambda section: section not in ("backend", "sheet", "retry"))[:3]


def known_keys(path: Field) -> list[str]:
    """The keys that the section of a score at `path` takes."""
    return section_keys(_json_schema(), path)


def section_keys(schema: dict[str, Any], path: Field) -> list[str]:
    """The keys that the section at `path` takes, by its JSON Schema."""
    here: Any = schema
    for part in path:
        here = _section(schema, here)
        here = here.get("properties", {}).get(part) or here.get("items") or here.get("additionalProperties") or {}
    return list(_section(schema, here).get("properties", {}))


@cache
def _json_schema() -> dict[str, Any]:
    return Score.model_json_schema()


def _section(schema: dict[str, Any], here: Any) -> Any:
    """The object that a reference or a nullable field stands for."""
    for choice in here.get("anyOf", []):
        if choice.get("type") != "null":
            return _section(schema, choice)
    if "$ref" in here:
        return schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
    return here
