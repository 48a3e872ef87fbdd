"""Render a prompt template: Jinja2, sandboxed, strict about undefined names, bounded.

Attributes that reach into Python are refused; only the template's own directory can be included from. Bounded are the steps
of loops, the size of what is printed or joined, and what arithmetic makes, because a worker renders on its loop. Called by
`prompt`; `check` asks `names_used`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, wraps
from types import MappingProxyType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS

from ipc.score.problems import suggestion

#: Characters of a rendered prompt, at most.
MAX_OUTPUT = 8 * 1024 * 1024
#: Steps that the loops of one rendering may take together.
MAX_STEPS = 1_000_000
#: A number in an argument, at most: widths and repetitions.
MAX_ARGUMENT = 1_000_000

_WIDTH = re.compile(r"[0-9]{5,}|\*")
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


def render(text: str, variables: Mapping[str, Any], directory: str | None = None) -> str:
    """Raises TemplateProblem, naming the undefined variable and the nearest known one."""
    try:
        environment = _environment(directory)
        environment.steps = 0
        return _join(environment.compiled(text).generate(**variables))
    except TemplateProblem:
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
        raise TemplateProblem("the template is nested too deeply", "does it include itself?") from None
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        # A template may call any method of a text, number or list with any arguments.
        raise TemplateProblem(f"the template fails: {error}") from None


@lru_cache(maxsize=4)
def names_used(text: str) -> Mapping[str, int]:
    """Variables that the template needs, with the line each is first used on; not those it tests with `is defined` or gives
    a `default`. Names inside included files are not seen. Raises TemplateProblem for a syntax error."""
    try:
        tree = _environment(None).parse(text)
    except jinja2.TemplateSyntaxError as error:
        raise _syntax_problem(error) from None
    except RecursionError:
        raise TemplateProblem("the template is nested too deeply") from None
    return MappingProxyType(dict(_needed_names(tree)))


@lru_cache(maxsize=4)
def _environment(directory: str | None) -> _Environment:
    return _Environment(directory)


def _join(parts: Iterable[str]) -> str:
    found, size = [], 0
    for part in parts:
        size += len(part)
        if size > MAX_OUTPUT:
            raise TemplateProblem(f"the prompt is longer than {MAX_OUTPUT:,} characters", "does a loop run too often?")
        found.append(part)
    return "".join(found)


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
        self.steps = 0
        self.globals = {name: self.globals[name] for name in self.GLOBALS}
        self.filters = {name: _bounded(function) for name, function in self.filters.items()}
        self.filters |= {"__counted": self._counted, "__joined": _joined}
        self.compiled = lru_cache(maxsize=4)(self.from_string)

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
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise TemplateProblem(f"the loops take more than {MAX_STEPS:,} steps", "loop over less")
            yield value

    def call(self, context: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_large([*args, *kwargs.values()])
        return super().call(context, function, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if isinstance(getattr(value, "__self__", None), str) and _WIDTH.search(value.__self__):
            raise TemplateProblem("a width in format() is too large")
        return super().wrap_str_format(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _refuse_large_result(operator, left, right)
        return super().call_binop(context, operator, left, right)


class _Loader(jinja2.BaseLoader):
    """Files of one directory and below, never out of it: also not by a symlink."""

    def __init__(self, directory: str | None) -> None:
        self._directory = os.path.realpath(directory) if directory is not None else None

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        if self._directory is None:
            raise jinja2.TemplateNotFound(template)
        path = os.path.realpath(os.path.join(self._directory, template))
        if os.path.commonpath([path, self._directory]) != self._directory:
            raise TemplateProblem(f"the included template {template!r} is outside {self._directory}", "copy it there")
        try:
            with open(path, encoding="utf-8") as file:
                return file.read(MAX_OUTPUT), path, lambda: False
        except (OSError, ValueError) as error:
            raise jinja2.TemplateNotFound(template, str(error)) from None


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses huge widths and counts. Keeps the marks by which Jinja passes it a context."""

    first = 2 if hasattr(function, "jinja_pass_arg") else 1

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _refuse_large([*args[first:], *kwargs.values()])
        return function(*args, **kwargs)

    return bounded


def _joined(parts: list[Any]) -> str:
    texts = [str(part) for part in parts]
    if sum(map(len, texts)) > MAX_OUTPUT:
        raise TemplateProblem(f"a text grows beyond {MAX_OUTPUT:,} characters")
    return "".join(texts)


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
