"""Render a prompt template: Jinja2, sandboxed, strict about undefined names, bounded.

Attributes that reach into Python are refused; only the template's own directory can be included from. Bounded are the steps
of loops, the size of what is printed or joined, and what arithmetic makes; what that leaves, time and memory, is bounded by
whoever calls: `rendering` does what is `is_plain` on the spot and all else in a process that can be given up. Called by
`prompt`; `check` asks `names_used`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, wraps
from types import MappingProxyType
from typing import Any, NamedTuple

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS

from ipc.files import NotRegularError, OutsideError, read_regular
from ipc.score.problems import suggestion

#: Characters of a rendered prompt, at most.
MAX_OUTPUT = 8 * 1024 * 1024
#: Steps that the loops of one rendering may take together.
MAX_STEPS = 1_000_000
#: A number in an argument, at most: widths and repetitions.
MAX_ARGUMENT = 1_000_000

#: What is rendered on the spot: characters of the template and of its tags, tags, and operations on characters.
PLAIN_CHARS, PLAIN_CODE, PLAIN_TAGS, PLAIN_WORK = 64 * 1024, 3000, 60, 10_000_000
#: Characters that a text may grow to there.
PLAIN_OUTPUT = 512 * 1024

_WIDTH = re.compile(r"[0-9]{5,}|\*")
NOTHING: Mapping[str, str] = MappingProxyType({})
_UNDEFINED = re.compile(r"^'(\w+)' is undefined")


class TemplateProblem(ValueError):  # noqa: N818 - a finding, with a place
    """What is wrong, where (`name` is the included file or None, `line` from 1), and a hint. `undefined`: the unknown name."""

    def __init__(
        self, message: str, hint: str = "", line: int | None = None, name: str | None = None, undefined: str = ""
    ):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.line = line
        self.name = name
        self.undefined = undefined


class TooMuchError(Exception):
    """It may take long: not on a loop."""


def render(
    text: str,
    variables: Mapping[str, Any],
    directory: str | None = None,
    includes: Mapping[str, str] = NOTHING,
    at_once: bool = False,
) -> str:
    """Raises TemplateProblem, naming the undefined variable and the nearest known one. `includes` are files that were read
    when the score was, the others are read in `directory`. `at_once`: raises TooMuchError for what is not over at once."""
    steps, size = (_plain_steps(text, variables), PLAIN_OUTPUT) if at_once else (MAX_STEPS, MAX_OUTPUT)
    try:
        environment = _environment(directory)
        environment.begin(includes, steps, size, at_once)
        return environment.join(environment.compiled(text).generate(**variables))
    except (TemplateProblem, TooMuchError):
        raise
    except jinja2.TemplateSyntaxError as error:
        raise _syntax_problem(error) from None
    except jinja2.UndefinedError as error:
        raise _undefined_problem(str(error), variables) from None
    except SecurityError as error:
        raise TemplateProblem(f"the template is refused: {error}", "templates may only read their variables") from None
    except jinja2.TemplateNotFound as error:
        hint = f"files are included from {directory}" if directory else "nothing can be included here"
        raise TemplateProblem(f"the included template {error.name!r} does not exist", hint) from None
    except RecursionError:
        raise TemplateProblem("the template is nested too deeply", "check whether it includes itself") from None
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        # A template may call any method of a text, number or list with any arguments.
        raise TemplateProblem(f"the template fails: {error}") from None


def names_used(text: str, at_once: bool = False) -> Mapping[str, int]:
    """Variables that the template needs, with the line each is first used on; not those it tests with `is defined` or gives
    a `default`. Names inside included files are not seen. Raises TemplateProblem for a syntax error, TooMuchError as `render`.
    """
    if at_once and not _is_short(text):
        raise TooMuchError
    return _parsed(text).names


class _Parsed(NamedTuple):
    names: Mapping[str, int]
    cost: int
    """Operations of one step, at most; 0 when nobody can tell."""
    loops: bool


@lru_cache(maxsize=4)
def _parsed(text: str) -> _Parsed:
    try:
        tree = _environment(None).parse(text)
        return _Parsed(dict(_needed_names(tree)), _cost(tree), tree.find(nodes.For) is not None)
    except jinja2.TemplateSyntaxError as error:
        raise _syntax_problem(error) from None
    except RecursionError:
        raise TemplateProblem("the template is nested too deeply") from None


def files_included(text: str, at_once: bool = False) -> list[str]:
    """The names that it includes, imports or extends in so many words. TooMuchError as `render`."""
    if at_once and not _is_short(text):
        raise TooMuchError
    try:
        return list(filter(None, meta.find_referenced_templates(_environment(None).parse(text))))
    except (jinja2.TemplateSyntaxError, RecursionError):
        return []  # Said by whoever renders it.


@lru_cache(maxsize=4)
def _environment(directory: str | None) -> _Environment:
    return _Environment(directory)


#: What Jinja says of a mistake → what people call it, and a hint.
_SYNTAX: tuple[tuple[str, str, str], ...] = (
    (r"^unexpected end of template, expected 'end of print", "`{{` is never closed", "end it with }}"),
    (r"^unexpected end of template, expected 'end of statement", "`{%` is never closed", "end it with %}"),
    (r"^Missing end of comment", "`{#` is never closed", "end it with #}"),
    (r"^Missing end of raw", "{% raw %} is never closed", "end it with {% endraw %}"),
    (r"needs to be closed is '(\w+)'", "{{% {0} %}} is never closed", "end it with {{% end{0} %}}"),
    (r"^No filter named '(\w+)'", "there is no filter {0!r}", ""),
    (r"^No test named '(\w+)'", "there is no test {0!r}", ""),
    (
        r"^Encountered unknown tag 'end(\w+)'",
        "{{% end{0} %}} closes nothing",
        "remove it, or write {{% {0} … %}} before it",
    ),
    (r"^Encountered unknown tag '(\w+)'", "there is no tag {{% {0} %}}", "an {{% if %}} ends with {{% endif %}}"),
)


def _syntax_problem(error: jinja2.TemplateSyntaxError) -> TemplateProblem:
    said = error.message or ""
    for pattern, words, hint in _SYNTAX:
        if found := re.search(pattern, said):
            what = hint or _known_function(said, found[1])
            names = found.groups()
            told, what = (text.format(*names) if names else text for text in (words, what))
            return TemplateProblem(f"template syntax error: {told}", what, error.lineno, error.name)
    hint = "to show braces as they are, write {% raw %}…{% endraw %}"
    return TemplateProblem(f"template syntax error: {said.rstrip('.')}", hint, error.lineno, error.name)


def _known_function(said: str, name: str) -> str:
    known = FILTERS if "filter" in said else TESTS
    return suggestion(name, known) or "Jinja's own are listed in its documentation"


def _undefined_problem(message: str, variables: Mapping[str, Any]) -> TemplateProblem:
    match = _UNDEFINED.match(message)
    if not match:
        return TemplateProblem(f"the template uses something undefined: {message}")
    name = match.group(1)
    hint = suggestion(name, variables) or f"known are {', '.join(sorted(variables))}"
    return TemplateProblem(f"the template uses the undefined variable {name!r}", hint, undefined=name)


# ---- which names a template needs ------------------------------------------------------------------------------------


def _needed_names(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    assigned = {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
    assigned |= {node.name for node in tree.find_all(nodes.Macro)} | _imported(tree)
    optional = {name.name for test in tree.find_all((nodes.Test, nodes.Filter)) for name in _excused(test)}
    seen = assigned | optional | {"loop", "caller", "varargs", "kwargs", "self", "super"} | _Environment.GLOBALS
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and name.name not in seen:
            seen.add(name.name)
            yield name.name, name.lineno


def _excused(node: Any) -> Iterator[nodes.Name]:
    if node.name in ("defined", "undefined", "default", "d") and isinstance(node.node, nodes.Name):
        yield node.node


def _imported(tree: nodes.Template) -> set[str]:
    names = {node.target for node in tree.find_all(nodes.Import)}
    for node in tree.find_all(nodes.FromImport):
        names |= {name if isinstance(name, str) else name[1] for name in node.names}
    return names


# ---- what is over at once --------------------------------------------------------------------------------------------

#: Everything whose work is in proportion to what it is given. No calls, so no macros, and nothing that multiplies.
_PLAIN_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.If,
    nodes.CondExpr, nodes.Not, nodes.And, nodes.Or, nodes.Compare, nodes.Operand, nodes.Filter, nodes.Test, nodes.For,
    nodes.Assign, nodes.Add, nodes.Sub, nodes.Concat, nodes.Neg, nodes.Scope, nodes.Keyword,
)  # fmt: skip
_PLAIN_FILTERS = frozenset({
    "abs", "capitalize", "d", "default", "first", "float", "int", "join", "last", "length", "count", "lower", "round", "string",
    "title", "trim", "upper",
})  # fmt: skip
_PLAIN_TESTS = frozenset(
    {"defined", "undefined", "none", "string", "number", "mapping", "iterable", "sequence", "true", "false"}
)


@lru_cache(maxsize=8)
def _is_short(text: str) -> bool:
    """Whether reading it is over at once: few tags with little in them."""
    if len(text) > PLAIN_CHARS:
        return False
    code = tags = start = 0
    while (start := text.find("{", start)) >= 0:
        if text[start + 1 : start + 2] in ("{", "%", "#"):
            end = text.find("}", start)
            code += (end if end >= 0 else len(text)) - start
            tags += 1
            if code > PLAIN_CODE or tags > PLAIN_TAGS:
                return False
        start += 1
    return True


def _cost(tree: nodes.Template) -> int:
    count = 0
    waiting: list[nodes.Node] = [tree]
    while waiting:
        node = waiting.pop()
        count += 1
        if not isinstance(node, _PLAIN_NODES) or not _is_plain_call(node):
            return 0
        waiting += node.iter_child_nodes()
    return count


def _is_plain_call(node: nodes.Node) -> bool:
    match node:
        case nodes.Filter(name=name):
            # Between many items, a long text is multiplied.
            given = [*node.args, *(keyword.value for keyword in node.kwargs)]
            return name in _PLAIN_FILTERS and (name != "join" or all(isinstance(each, nodes.Const) for each in given))
        case nodes.Test(name=name):
            return name in _PLAIN_TESTS
        case nodes.For():
            return not node.recursive
    return True


def _plain_steps(text: str, variables: Mapping[str, Any]) -> int:
    """How many steps its loops may take together and be over at once. Raises TooMuchError when even one may take longer."""
    if not _is_short(text):
        raise TooMuchError
    parsed = _parsed(text)
    most = PLAIN_WORK // max(1, parsed.cost) if parsed.cost else 0
    size = _size(variables, most)
    if size > most:
        raise TooMuchError
    return most // max(1, size, 256) if parsed.loops else 0


def _size(value: Any, most: int) -> int:
    """Characters that printing it may take, about; counted no further than `most`."""
    size, waiting = 0, [value]
    while waiting and size <= most:
        one = waiting.pop()
        size += len(one) if isinstance(one, str) else 16
        if isinstance(one, Mapping):
            waiting += one.keys()
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return size


# ---- the bounded sandbox --------------------------------------------------------------------------------------------


class _Environment(ImmutableSandboxedEnvironment):
    GLOBALS = frozenset({"range", "dict", "cycler", "joiner", "namespace"})

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, directory: str | None) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            loader=_Loader(directory),
            keep_trailing_newline=True,
            autoescape=False,
        )
        self.begin(NOTHING, MAX_STEPS, MAX_OUTPUT, False)
        self.globals = {name: self.globals[name] for name in self.GLOBALS}
        self.filters = {name: _bounded(function) for name, function in self.filters.items()}
        self.filters |= {"__counted": self._counted, "__joined": self._joined}
        self.compiled = lru_cache(maxsize=4)(self.from_string)

    def begin(self, includes: Mapping[str, str], steps: int, size: int, at_once: bool) -> None:
        """One rendering: what it includes, and what its loops and texts may come to."""
        assert isinstance(self.loader, _Loader)
        self.loader.includes = includes
        self._steps, self._size, self._at_once = steps, size, at_once

    def join(self, parts: Iterable[str]) -> str:
        found, size = [], 0
        for part in parts:
            size += len(part)
            if size > self._size:
                hint = "check its loops"
                raise self._exceeded(f"the prompt is longer than {self._size:,} characters", hint)
            found.append(part)
        return "".join(found)

    def _exceeded(self, message: str, hint: str = "") -> Exception:
        return TooMuchError() if self._at_once else TemplateProblem(message, hint)

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        # Only what is compiled is instrumented, so that `parse` shows the author's own names.
        for loop in source.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "__counted", [], [], None, None, lineno=loop.lineno)
        for joined in list(source.find_all(nodes.Concat)):
            items = nodes.List(joined.nodes[:], lineno=joined.lineno)
            joined.nodes = [nodes.Filter(items, "__joined", [], [], None, None, lineno=joined.lineno)]
        source.set_environment(self)
        return super()._generate(source, name, filename, defer_init)

    def _counted(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._steps -= 1
            if self._steps < 0:
                raise self._exceeded(f"the loops take more than {MAX_STEPS:,} steps", "loop over fewer items")
            yield value

    def _joined(self, parts: list[Any]) -> str:
        texts = [str(part) for part in parts]
        if sum(map(len, texts)) > self._size:
            raise self._exceeded(f"a text grows beyond {self._size:,} characters")
        return "".join(texts)

    def call(self, context: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_large([*args, *kwargs.values()])
        return super().call(context, function, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if isinstance(getattr(value, "__self__", None), str) and _WIDTH.search(value.__self__):
            raise TemplateProblem("a width in format() is too large")
        return super().wrap_str_format(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if self._at_once and not isinstance(left, int | float | str):
            raise TooMuchError  # Lists grow, and what is in them is shared.
        if self._at_once and isinstance(left, str) and isinstance(right, str) and len(left) + len(right) > self._size:
            raise TooMuchError
        _refuse_large_result(operator, left, right)
        return super().call_binop(context, operator, left, right)


class _Loader(jinja2.BaseLoader):
    """Files of one directory and below, never out of it: also not by a symlink. What was read with the score comes first."""

    def __init__(self, directory: str | None) -> None:
        self._directory = os.path.realpath(directory) if directory is not None else None
        self.includes: Mapping[str, str] = NOTHING

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str | None, Callable[[], bool]]:
        if template in self.includes:
            return self.includes[template], None, lambda: False
        if self._directory is None:
            raise jinja2.TemplateNotFound(template)
        path = os.path.join(self._directory, template)
        try:
            return read_included(self._directory, template), path, lambda: False
        except OutsideError:
            message = f"the included template {template!r} is outside {self._directory}"
            raise TemplateProblem(message, "copy it there") from None
        except NotRegularError as error:
            raise TemplateProblem(f"cannot include {template!r}: {error}", "templates are ordinary files") from None
        except (OSError, ValueError) as error:
            raise jinja2.TemplateNotFound(template, str(error)) from None


def read_included(directory: str, name: str) -> str:
    """Raises OutsideError, NotRegularError, OSError, ValueError."""
    return read_regular(os.path.join(directory, name), MAX_OUTPUT, beneath=directory).decode("utf-8")


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses huge widths and counts. Keeps the marks by which Jinja passes it a context."""

    first = 2 if hasattr(function, "jinja_pass_arg") else 1

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _refuse_large([*args[first:], *kwargs.values()])
        return function(*args, **kwargs)

    return bounded


def _refuse_large(arguments: Iterable[Any]) -> None:
    for argument in arguments:
        if isinstance(argument, int) and abs(argument) > MAX_ARGUMENT:
            raise TemplateProblem(f"the number {argument} is too large for an argument", f"at most {MAX_ARGUMENT:,}")


def _refuse_large_result(operator: str, left: Any, right: Any) -> None:
    sizes = [len(side) if isinstance(side, str | list | tuple) else 0 for side in (left, right)]
    if operator == "%" and isinstance(left, str):
        too_large = bool(_WIDTH.search(left))
    elif operator == "*" and any(sizes):
        times = left if isinstance(left, int) else right
        too_large = isinstance(times, int) and times * max(sizes) > MAX_OUTPUT
    elif operator == "+":
        too_large = sum(sizes) > MAX_OUTPUT
    else:
        too_large = operator != "%" and any(isinstance(side, int) and abs(side) > 2**64 for side in (left, right))
        too_large |= operator == "**" and isinstance(right, int | float) and abs(right) > 64
    if too_large:
        raise TemplateProblem(f"the result of {operator} would be too large")
