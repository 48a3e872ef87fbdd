"""What the command line lays over a score: `--var`, `--var-json`, `--set`, `--workspace`.

Changes the document before it is validated, so that what is set is checked like what is written. `load` calls it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ipc.errors import EXIT_USAGE, MozartError
from ipc.score.anchor import absolute
from ipc.score.document import Document, find_key, parse_value
from ipc.score.problems import ScoreError, shown

_HINT = "name a field and its value, as in --set backend.timeout_seconds=60"


class Json(NamedTuple):
    """A value of `--var-json`."""

    value: Any


def apply(
    document: Document, variables: Mapping[str, str | Json], sets: Mapping[str, str], workspace: str | None
) -> None:
    """Raises MozartError for a field that cannot be set."""
    defaults = _defaults(document)
    for name, given in variables.items():
        value = given.value if isinstance(given, Json) else _variable(name, given, defaults.get(name))
        _set(document, ("prompt", "variables", name), value)
    if variables:
        _set(document, ("prompt", "given"), sorted({*_given(document), *variables}))
    for name, text in sets.items():
        _set(document, tuple(name.split(".")), _value(name, text))
    if workspace is not None:
        # What is typed starts where it is typed, unlike what the score says.
        _set(document, ("workspace",), absolute(os.path.expanduser(workspace)))


def _given(document: Document) -> list[str]:
    prompt = document.data.get("prompt")
    written = prompt.get("given") if isinstance(prompt, dict) else None
    return [name for name in written if isinstance(name, str)] if isinstance(written, list) else []


def _defaults(document: Document) -> dict[Any, Any]:
    prompt = document.data.get("prompt")
    written = prompt.get("variables") if isinstance(prompt, dict) else None
    return dict(written) if isinstance(written, dict) else {}


#: What a truth may be typed as.
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?\Z")


def _variable(name: str, text: str, default: Any) -> Any:
    """What was typed, as the type of the score's own value; without one it is the text."""
    if default is None or isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text.lower() in _TRUTHS:
            return _TRUTHS[text.lower()]
        raise _unfit(name, text, "true or false", default)
    if isinstance(default, int):
        if _WHOLE.match(text):
            return int(text)
        raise _unfit(name, text, "a whole number", default)
    if isinstance(default, float):
        if _NUMBER.match(text) and math.isfinite(float(text)):
            return float(text)
        raise _unfit(name, text, "a number", default)
    what = "a list" if isinstance(default, list) else "a map"
    hint = f"write --var-json {name}='{'[…]' if isinstance(default, list) else '{…}'}'"
    raise MozartError("E301", f"cannot set {name} to {text!r}: the score's own value is {what}", hint, EXIT_USAGE)


def _unfit(name: str, text: str, what: str, default: Any) -> MozartError:
    message = f"cannot set {name} to {text!r}: it must be {what}, as the score's own {name}: {shown(default)}"
    return MozartError("E301", message, "quote it in the score to have text", EXIT_USAGE)


def _value(name: str, text: str) -> Any:
    try:
        return parse_value(text, "--set", strict=True)
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
