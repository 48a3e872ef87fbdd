"""What every file keeps to: it says what it owns, has short functions, catches what it knows, never sleeps."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

from tests.conventions.tree import PACKAGES, files, functions, imports, name, parsed

PRODUCT = files(*PACKAGES)
TESTS = files("tests")


@pytest.mark.parametrize("path", PRODUCT + TESTS + files("examples"), ids=name)
def test_a_module_says_what_it_owns(path: Path) -> None:
    text = ast.get_docstring(parsed(path))
    assert text, "no docstring"
    assert len(text.splitlines()) <= 25, "that is a chapter"


def test_functions_are_short() -> None:
    lengths = {
        f"{name(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in PRODUCT
        for node in functions(path)
    }
    assert not {where: length for where, length in lengths.items() if length > 60}
    assert statistics.median(lengths.values()) <= 10


#: Edges where anything may come and must not end the process. File → why.
BROAD = {
    "mozartd/spawn.py": "the end of a forked child: whatever it was must be in the log, and nothing may unwind further",
    "mozartd/coordinator/requests/__init__.py": "a bug in one request is answered, the daemon lives",
}


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Catches everything, and does not pass it on."""
    caught = handler.type
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    everything = any(n is None or (isinstance(n, ast.Name) and n.id in ("Exception", "BaseException")) for n in names)
    last = handler.body[-1]
    return everything and not (isinstance(last, ast.Raise) and last.exc is None)


def test_nothing_catches_everything() -> None:
    found = {
        name(path): node.lineno
        for path in PRODUCT
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler) and is_broad(node)
    }
    assert not set(found) - set(BROAD), found
    assert not set(BROAD) - set(found), "listed, but catches nothing broad any more"


def sleeps(path: Path) -> list[str]:
    """Calls of time.sleep and asyncio.sleep; sleep(0) gives way and is none."""
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep":
            argument = node.args[0] if node.args else None
            if not (isinstance(argument, ast.Constant) and argument.value == 0):
                found.append(f"{name(path)}:{node.lineno}")
    return found


def test_product_code_does_not_sleep_for_a_fixed_time() -> None:
    assert not [where for path in PRODUCT for where in sleeps(path)]


#: wait_until, and the benches, which measure over a time.
MAY_SLEEP = ("tests/process/daemon.py", "tests/bench/")


def test_tests_do_not_sleep() -> None:
    assert not [where for path in TESTS if not name(path).startswith(MAY_SLEEP) for where in sleeps(path)]


def test_tests_replace_none_of_our_parts() -> None:
    mocks = [
        f"{name(path)}:{line}"
        for path in TESTS
        for module, line in imports(path)
        if module.startswith(("unittest.mock", "mock.", "pytest_mock"))
    ]
    patches = [
        f"{name(path)}:{node.lineno}"
        for path in TESTS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ("setattr", "setitem")
        and "monkeypatch" in ast.unparse(node)
    ]
    assert not mocks + patches
