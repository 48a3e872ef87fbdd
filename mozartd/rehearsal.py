"""Whether what is installed is whole: every file of the package read as far as it can be without running it.

Imports alone do not show it. What the next image needs only later (an agent of ours, a verb, a migration) may be half
written, or of another version than the file that uses it: a name that is imported and not there is found here, and not when
somebody has to be killed. Called by the trial of an upgrade, in a process of its own; says the file and the line.
"""

from __future__ import annotations

import ast
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import yaml

from ipc.errors import MozartError
from mozartd.entry import ROOT

PACKAGES = ("agents", "backends", "cli", "ipc", "mozartd", "workers")


class Problem(NamedTuple):
    path: str
    """Below the package's folder."""
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.what}"


class Module(NamedTuple):
    path: str
    nodes: tuple[ast.AST, ...]
    """Of its tree, its top first."""
    names: frozenset[str]
    """What others can import from it."""


def check() -> None:
    """Raises MozartError E404 with the first problem, in the words of its file and line."""
    for problem in problems(ROOT):
        hint = "install it again; the daemon goes on as it was"
        raise MozartError("E404", f"cannot use what is installed in {ROOT}: {problem}", hint)


def problems(root: str) -> Iterator[Problem]:
    """What is wrong with the package in that folder, file by file."""
    modules: dict[str, Module] = {}
    for path in _files(root):
        try:
            with open(os.path.join(root, path), encoding="utf-8") as file:
                text = file.read()
            if path.endswith(".py"):
                modules[_dotted(path)] = _module(path, text)
            elif path.endswith(".yaml"):
                _check_yaml(text)
        except SyntaxError as error:
            yield Problem(path, error.lineno or 1, error.msg)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            yield Problem(path, mark.line + 1 if mark else 1, getattr(error, "problem", None) or "it is no YAML")
        except (OSError, ValueError) as error:
            yield Problem(path, 1, str(error))
    yield from _check_sql(root)
    for module in modules.values():
        yield from _missing(module, modules)


def _files(root: str) -> list[str]:
    found = []
    for package in PACKAGES:
        for folder, _, names in os.walk(os.path.join(root, package)):
            found += [os.path.relpath(os.path.join(folder, name), root) for name in names if not name.endswith(".pyc")]
    return sorted(found)


# ---- modules


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _module(path: str, text: str) -> Module:
    if not text.strip() and not path.endswith("__init__.py"):
        raise ValueError("it is empty")
    tree = ast.parse(text, path)
    compile(tree, path, "exec", dont_inherit=True)
    return Module(path, tuple(ast.walk(tree)), frozenset(_defined(tree.body)))


def _defined(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Names at a module's top, also those in an `if` or a `try`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        else:
            yield from (each.id for each in ast.walk(node) if isinstance(each, ast.Name))
            for field in ("body", "orelse", "finalbody"):
                yield from _defined(getattr(node, field, []))


def _missing(module: Module, modules: dict[str, Module]) -> Iterator[Problem]:
    """What it takes from others of ours and they have not."""
    imported = _imported(module.nodes)
    for node in module.nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PACKAGES:
            source = modules.get(node.module)
            for alias in node.names:
                if f"{node.module}.{alias.name}" not in modules and (source is None or alias.name not in source.names):
                    yield Problem(module.path, node.lineno, f"there is no {alias.name} in {node.module}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used = modules.get(imported.get(node.value.id, ""))
            if used is not None and not _has(used, node.attr, modules):
                yield Problem(module.path, node.lineno, f"there is no {node.attr} in {imported[node.value.id]}")


def _has(module: Module, name: str, modules: dict[str, Module]) -> bool:
    return name in module.names or name.startswith("__") or f"{_dotted(module.path)}.{name}" in modules


def _imported(nodes: Sequence[ast.AST]) -> dict[str, str]:
    """Modules of ours that it names as a whole: its name for one → the module. Not those whose name means something else,
    too: a parameter, a variable."""
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PACKAGES:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    rebound = _rebound(nodes)
    return {name: dotted for name, dotted in found.items() if name not in rebound}


def _rebound(nodes: Sequence[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
    return found


# ---- data


def _check_yaml(text: str) -> None:
    if not isinstance(yaml.safe_load(text), dict):
        raise ValueError("it is no table")


def _check_sql(root: str) -> Iterator[Problem]:
    """Every migration is run in an empty database, and every statement prepared in what that makes."""
    store = os.path.join("mozartd", "store")
    database = sqlite3.connect(":memory:")
    paths = [path for path in _files(root) if path.startswith(store) and path.endswith(".sql")]
    for path in sorted(paths, key=lambda path: ("migrations" not in path, path)):
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            text = file.read()
        for line, statement in _statements(text):
            try:
                prepared = statement if "migrations" in path else f"EXPLAIN {statement}"
                database.execute(prepared, dict.fromkeys(re.findall(r":(\w+)", statement)))
            except sqlite3.Error as error:
                yield Problem(path, line, str(error))
    database.close()


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each with the line on which it begins; comments stand before it."""
    begun, lines = 1, text.split("\n")
    part: list[str] = []
    for number, line in enumerate([*lines, ";"], start=1):
        if not part and (not line.strip() or line.startswith("--")):
            continue
        begun = begun if part else number
        part.append(line)
        whole = "\n".join(part)
        if sqlite3.complete_statement(whole):
            if whole.strip(" ;\n"):
                yield begun, whole
            part = []
    if part:
        # A text or a parenthesis that is never closed.
        yield begun, "\n".join(part)
