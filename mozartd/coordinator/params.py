"""A request's parameters, read one by one with their types; what is not read is an error.

Every handler takes what it knows and then calls `finish`, so that nothing accepted is ignored.
"""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")

#: What SQLite can hold.
LARGEST = 2**63 - 1
#: The latest moment, and the longest time, that anybody may mean: what is later no calendar can show.
MOST_SECONDS = 1e11

_WORDS: dict[type, str] = {str: "text", bool: "true or false", dict: "an object"}


class InvalidParamsError(Exception):
    """The sentence for the peer."""


class Params:
    def __init__(self, values: Any) -> None:
        if not isinstance(values, dict):
            raise InvalidParamsError("cannot read params that are not an object")
        self._values = dict(values)
        self.key = ""
        """Names this request when it is to be done once, however often it is asked."""

    def finish(self) -> None:
        """Refuse what nobody asked for."""
        if self._values:
            raise InvalidParamsError(f"cannot use the parameter {_short(min(self._values))}: it is not known")

    def text(self, name: str) -> str:
        return self._take(name, str, None)

    def text_or(self, name: str, default: str) -> str:
        return self._take(name, str, default)

    def flag(self, name: str, default: bool = False) -> bool:
        return self._take(name, bool, default)

    def whole(self, name: str, default: int | None = None) -> int | None:
        """An integer, at least 0."""
        value = self._values.pop(name, None)
        if value is None:
            return default
        if not is_whole(value):
            raise _refusal(name, value, "a whole number")
        return int(value)

    def integer(self, name: str) -> int:
        """Of either sign."""
        value = self._values.pop(name, None)
        if not isinstance(value, int) or isinstance(value, bool) or not -LARGEST <= value <= LARGEST:
            raise _refusal(name, value, "a whole number")
        return value

    def seconds(self, name: str) -> float | None:
        value = self._values.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST_SECONDS:
            raise _refusal(name, value, f"a number of seconds up to {MOST_SECONDS:.0e}")
        return float(value)

    def mapping(self, name: str) -> dict[str, Any]:
        return self._take(name, dict, {})

    def texts(self, name: str) -> list[str]:
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise _refusal(name, values, "a list of texts")
        return values

    def wholes(self, name: str) -> list[int]:
        values = self._list(name)
        if not all(map(is_whole, values)):
            raise _refusal(name, values, "a list of whole numbers")
        return values

    def _list(self, name: str) -> list[Any]:
        values = self._values.pop(name, None)
        if values is None:
            return []
        if not isinstance(values, list):
            raise _refusal(name, values, "a list")
        return values

    def _take(self, name: str, kind: type[T], default: T | None) -> T:
        value = self._values.pop(name, default)
        if not isinstance(value, kind):
            raise _refusal(name, value, _WORDS[kind])
        return value


def is_whole(value: Any) -> bool:
    """An integer that a database, an offset and an index can be."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _refusal(name: str, value: Any, what: str) -> InvalidParamsError:
    return InvalidParamsError(f"cannot use {name} = {_short(value)}: it must be {what}")


def _short(value: Any) -> str:
    try:
        shown = repr(value)
    except RecursionError:
        shown = "something nested too deeply"
    return shown if len(shown) <= 100 else f"{shown[:99]}…"
