"""What the command line lays over a score: `--var`, `--set`, `--workspace`.

Changes the document before it is validated, so that what is set is checked like what is written. `load` calls it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ipc.errors import EXIT_USAGE, MozartError
from ipc.score.document import Document, find_key, parse_value
from ipc.score.problems import ScoreError, shown

_HINT = "name a field and its value, as in --set backend.timeout_seconds=60"


def apply(document: Document, variables: Mapping[str, str], sets: Mapping[str, str], workspace: str | None) -> None:
    """Raises MozartError for a field that cannot be set."""
    for name, text in variables.items():
        _set(document, ("prompt", "variables", name), _variable(text))
    if variables:
        _set(document, ("prompt", "given"), sorted({*_given(document), *variables}))
    for name, text in sets.items():
        _set(document, tuple(name.split(".")), _value(name, text))
    if workspace is not None:
        # What is typed starts where it is typed, unlike what the score says.
        _set(document, ("workspace",), os.path.abspath(os.path.expanduser(workspace)))


def _given(document: Document) -> list[str]:
    prompt = document.data.get("prompt")
    written = prompt.get("given") if isinstance(prompt, dict) else None
    return [name for name in written if isinstance(name, str)] if isinstance(written, list) else []


def _variable(text: str) -> Any:
    """A scalar as YAML types it; what is no scalar is text."""
    try:
        value = parse_value(text, "--var")
    except ScoreError:
        return text
    return text if isinstance(value, dict | list) else value


def _value(name: str, text: str) -> Any:
    try:
        return parse_value(text, "--set")
    except ScoreError as error:
        message = f"cannot understand --set {name}={text}: {error.problems[0].message}"
        raise MozartError("E304", message, error.problems[0].hint or _HINT, EXIT_USAGE) from None


def _set(document: Document, path: tuple[str, ...], value: Any) -> None:
    here: Any = document.data
    for part in path[:-1]:
        found = find_key(here, part)
        key = part if found is None else found
        if found is None or here[key] is None:
            _put(here, key, {}, path)
            here = here[key]
        else:
            here = document.own(here, key) if isinstance(here[key], dict | list) else here[key]
    last = find_key(here, path[-1])
    _put(here, path[-1] if last is None else last, value, path)
    document.overridden.add(path)


def _put(container: Any, key: Any, value: Any, path: tuple[str, ...]) -> None:
    if isinstance(container, dict) or (isinstance(container, list) and isinstance(key, int)):
        container[key] = value
        return
    what = (
        f"the list has {len(container)} items" if isinstance(container, list) else f"{shown(container)} has no fields"
    )
    message = f"cannot set {'.'.join(path)}: at {key!r} {what}"
    raise MozartError("E301", message, _HINT, EXIT_USAGE)
