"""How a verb says what it takes, and the fast way to read it.

A verb's `command` has a signature of `Annotated[type, Option(...)]` and `Annotated[type, Argument(...)]`: the one definition
of its arguments. Two read it. `read` here takes the common case, a correct command line, in a millisecond. Everything else
(help, completion, any mistake) is typer's, which `cli.app` builds from the same signature; with the pydantic that it
converts values by, that costs a quarter of a second, which nobody should wait for `mozart status`. A property test holds the
two to the same answers.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from types import NoneType
from typing import Any

from ipc.errors import EXIT_USAGE, MozartError

Command = Callable[..., int]
#: (word, what it is) for the beginning of one; see `cli.completions`.
Complete = Callable[..., list[tuple[str, str]]]

_INTEGER = re.compile(r"[0-9]{1,18}")
_NEGATIVE = re.compile(r"-[0-9]{1,18}")
_FLOAT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


class Option:
    """`--name VALUE`, or a flag when its type is bool. A list is given by repeating it. `complete` is as an Argument's."""

    def __init__(
        self,
        *flags: str,
        help: str = "",
        metavar: str | None = None,
        min: float | None = None,
        hidden: bool = False,
        complete: Complete | None = None,
    ) -> None:
        self.flags = flags
        self.help = help
        self.metavar = metavar
        self.min = min
        self.hidden = hidden
        self.complete = complete


class Argument:
    """A word without a dash, unless it may be a `negative` number. `complete` offers (word, what it is) for a beginning."""

    def __init__(
        self,
        help: str = "",
        metavar: str | None = None,
        complete: Complete | None = None,
        negative: bool = False,
    ) -> None:
        self.help = help
        self.metavar = metavar
        self.complete = complete
        self.negative = negative


class Parameter(typing.NamedTuple):
    name: str
    annotation: Any
    """What typer would convert to: `list[int] | None`."""
    kind: Any
    """Of one value: str, int, float, bool or an Enum."""
    many: bool
    default: Any
    """`inspect.Parameter.empty` when it must be given."""
    spec: Option | Argument


def parameters(command: Command) -> list[Parameter]:
    hints = typing.get_type_hints(command, include_extras=True)
    return [
        _parameter(name, hints[name], found.default) for name, found in inspect.signature(command).parameters.items()
    ]


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    annotation, spec = typing.get_args(hint)
    value = _without_none(annotation)
    many = typing.get_origin(value) is list
    kind = typing.get_args(value)[0] if many else value
    return Parameter(name, annotation, kind, many, default, spec)


def _without_none(annotation: Any) -> Any:
    """`list[int]` of `list[int] | None`."""
    parts = typing.get_args(annotation)
    return next(part for part in parts if part is not NoneType) if NoneType in parts else annotation


#: More than any number that means something, and less than what the wire or the database could not hold.
_MOST = 10**15


def check_text(words: Sequence[str]) -> None:
    """Bytes that are no text can be neither sent nor stored."""
    for word in words:
        if not is_text(word):
            raise _refusal(f"cannot use {word!r}: it is not UTF-8 text", "rename what it names")


def check(command: Command, given: Mapping[str, Any]) -> None:
    """What neither reading minds: an empty word, as of a variable that is not set, or a number beyond all."""
    for one in parameters(command):
        for value in given[one.name] if one.many and given[one.name] else [given[one.name]]:
            _check(one, value)


def _check(one: Parameter, value: Any) -> None:
    name = one.spec.flags[0] if isinstance(one.spec, Option) else one.spec.metavar or one.name
    if value == "" and "JOB" in name:
        raise MozartError("unknown_job", "cannot find a job ''", "`mozart list --all` shows every job")
    if value == "":
        raise _refusal(f"cannot use {name} '': it is empty", "give a value, or leave it out")
    if isinstance(value, int | float) and not abs(value) <= _MOST:
        raise _refusal(f"cannot use {name} {value}: it is beyond {_MOST:,}", "give a smaller number")


def is_text(word: str) -> bool:
    return word.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in word)


def _refusal(message: str, hint: str) -> MozartError:
    return MozartError("usage", message, hint, EXIT_USAGE)


class UnclearError(Exception):
    """Not the common case: typer reads it again, and says what is wrong if something is."""


def read(command: Command, words: Sequence[str]) -> dict[str, Any] | None:
    """The keyword arguments that these words mean, or None when typer should look."""
    known = parameters(command)
    try:
        options = {flag: one for one in known if isinstance(one.spec, Option) for flag in one.spec.flags}
        given, loose = _sort(words, options, takes_negative(known))
        return {one.name: _value(one, given, loose) for one in known} if not _left_over(known, loose) else None
    except UnclearError:
        return None


def takes_negative(known: Sequence[Parameter]) -> bool:
    return any(isinstance(one.spec, Argument) and one.spec.negative for one in known)


def _sort(
    words: Sequence[str], options: dict[str, Parameter], negative: bool
) -> tuple[dict[str, list[str]], list[str]]:
    """Options' values by parameter, and the words that belong to none."""
    given: dict[str, list[str]] = {}
    loose: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-" or (negative and _NEGATIVE.fullmatch(word)):
            loose.append(word)
            continue
        flag, equals, value = word.partition("=")
        option = options.get(flag)
        if option is None or (equals and not flag.startswith("--")):
            raise UnclearError
        if option.kind is bool:
            if equals:
                raise UnclearError
            value = "yes"
        elif not equals:
            value = _next_value(rest)
        given.setdefault(option.name, []).append(value)
    return given, loose


def _next_value(rest: Iterator[str]) -> str:
    value = next(rest, "-")
    if value.startswith("-"):
        raise UnclearError
    return value


def _left_over(known: list[Parameter], loose: list[str]) -> bool:
    return len(loose) > sum(isinstance(one.spec, Argument) for one in known) and not _takes_all(known)


def _takes_all(known: list[Parameter]) -> bool:
    return any(isinstance(one.spec, Argument) and one.many for one in known)


def _value(one: Parameter, given: dict[str, list[str]], loose: list[str]) -> Any:
    """One parameter's value; an argument takes its word, or all words, from `loose`."""
    if isinstance(one.spec, Argument):
        texts = loose[:] if one.many else loose[:1]
        del loose[: len(texts)]
    else:
        texts = given.get(one.name, [])
    if not texts:
        if one.default is inspect.Parameter.empty:
            raise UnclearError
        return one.default
    values = [_convert(text, one) for text in texts]
    return values if one.many else values[-1]


def _convert(text: str, one: Parameter) -> Any:
    if one.kind is bool:
        return True
    if one.kind is str:
        return text
    if issubclass(one.kind, Enum):
        if text not in {member.value for member in one.kind}:
            raise UnclearError
        return one.kind(text)
    if not (_INTEGER if one.kind is int else _FLOAT).fullmatch(text):
        raise UnclearError
    number = one.kind(text)
    if isinstance(one.spec, Option) and one.spec.min is not None and number < one.spec.min:
        raise UnclearError
    return number
