"""What every file keeps to: it says what it owns, has short functions, catches what it knows, never sleeps."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
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
    "ipc/blame.py": "what is thrown into a coroutine is passed on to it",
    "ipc/forkserver.py": "what a piece of work raises is raised where somebody waits for it",
    "mozartd/coordinator/turn.py": "a bug in one effect of a commit costs that one; the others are other people's",
    "mozartd/spawn.py": "the end of a forked child: whatever it was must be in the log, and nothing may unwind further",
    "workers/attempt.py": "a bug in one attempt is its verdict; the worker's other attempts go on",
    "workers/capture.py": "an odd line that breaks a backend's parser costs that line, not the attempt",
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


def sleeps(path: Path) -> Iterator[tuple[str, ast.expr | None]]:
    """Calls of time.sleep and asyncio.sleep: where, and how long. sleep(0) gives way and is none."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep":
            argument = node.args[0] if node.args else None
            if not (isinstance(argument, ast.Constant) and argument.value == 0):
                yield f"{name(path)}:{node.lineno}", argument


def is_fixed(argument: ast.expr | None) -> bool:
    """A literal or a constant; a pause that grows while nobody answers is neither."""
    return isinstance(argument, ast.Constant) or (isinstance(argument, ast.Name) and argument.id.isupper())


#: The sampler of the loops' lag, which is on for benches alone: it asks at its own pace.
SAMPLERS = ("ipc/lag.py",)


def test_product_code_does_not_sleep_for_a_fixed_time() -> None:
    quick = [path for path in PRODUCT if name(path) not in SAMPLERS]
    assert not [where for path in quick for where, argument in sleeps(path) if is_fixed(argument)]


#: wait_until, and the benches, which measure over a time.
MAY_SLEEP = (
    "tests/fakes/limited_api.py",
    "tests/process/daemon.py",
    "tests/bench/",
    "tests/faults/test_life_pauses.py",
    "tests/torture/frozen.py",
)


def test_tests_do_not_sleep() -> None:
    assert not [where for path in TESTS if not name(path).startswith(MAY_SLEEP) for where, _ in sleeps(path)]


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
