"""What SECURITY.md promises is held: each promise by a test that is there and by a guard that can be taken out."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests import ROOT
from tests.attack.mutations import MUTATIONS
from tests.attack.promises import PAGE, promises
from tests.conventions.tree import functions

NAMES = [promise.name for promise in promises()]


def test_every_list_item_under_promises_is_one() -> None:
    section = PAGE.read_text().partition("## What is promised")[2].partition("\n## ")[0]
    assert section.count("\n- ") == len(NAMES) > 20
    assert len(set(NAMES)) == len(NAMES)


def test_every_promise_names_a_test_that_is_there() -> None:
    there = {
        f"{path.relative_to(ROOT)}::{function.name}"
        for folder in ("faults", "process")
        for path in (ROOT / "tests" / folder).glob("test_*.py")
        for function in functions(path)
    }
    assert [promise for promise in promises() if promise.test not in there] == []


def test_every_promise_has_a_guard_to_take_out_and_every_guard_a_promise() -> None:
    assert set(MUTATIONS) == set(NAMES)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_guard_stands_where_it_is_said_and_the_program_is_one_without_it(name: str) -> None:
    mutation = MUTATIONS[name]
    text = (ROOT / mutation.file).read_text()
    assert text.count(mutation.old) == 1
    ast.parse(text.replace(mutation.old, mutation.new))


def test_a_test_notices_that_its_guard_is_gone() -> None:
    """Two that are quick; `make attack ARGS=mutations` tries all."""
    command = [sys.executable, "-m", "tests.attack", "mutations", "Never everything", "Settings are our own"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["red", "red"]
