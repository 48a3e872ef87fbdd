"""A request's parameters, read one by one with their types; what is not read is an error.

Every handler takes what it knows and then calls `finish`, so that nothing accepted is ignored.
"""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


class InvalidParamsError(Exception):
    """The sentence for the peer."""


class Params:
    def __init__(self, values: Any) -> None:
        if not isinstance(values, dict):
            raise InvalidParamsError("cannot read params that are not an object")
        self._values = dict(values)

    def finish(self) -> None:
        """Refuse what nobody asked for."""
        if self._values:
            raise InvalidParamsError(f"cannot use the parameter {min(self._values)!r}: it is not known")

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
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise InvalidParamsError(f"cannot use {name} = {value!r}: it must be a whole number")
        return value

    def integer(self, name: str) -> int:
        """Of either sign."""
        value = self._values.pop(name, None)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidParamsError(f"cannot use {name} = {value!r}: it must be a whole number")
        return value

    def seconds(self, name: str) -> float | None:
        value = self._values.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise InvalidParamsError(f"cannot use {name} = {value!r}: it must be a number of seconds")
        return float(value)

    def mapping(self, name: str) -> dict[str, Any]:
        return self._take(name, dict, {})

    def texts(self, name: str) -> list[str]:
        return self._list(name, str)

    def wholes(self, name: str) -> list[int]:
        return self._list(name, int)

    def _list(self, name: str, kind: type[T]) -> list[T]:
        values = self._values.pop(name, None) or []
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise InvalidParamsError(f"cannot use {name} = {values!r}: it must be a list")
        return values

    def _take(self, name: str, kind: type[T], default: T | None) -> T:
        value = self._values.pop(name, default)
        if not isinstance(value, kind):
            raise InvalidParamsError(f"cannot use {name} = {value!r}: it must be a {kind.__name__}")
        return value
