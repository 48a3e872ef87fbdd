"""What SECURITY.md promises: each a paragraph that ends with the name of the test that holds it."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests import ROOT

PAGE = ROOT / "SECURITY.md"

_PROMISE = re.compile(
    r"^- \*\*(?P<name>[^*]+)\*\* .*?`(?P<test>tests/[\w/]+\.py::test_\w+)`$", re.MULTILINE | re.DOTALL
)


class Promise(NamedTuple):
    name: str
    test: str
    """As pytest takes it: `tests/faults/test_trust.py::test_A07_…`."""


def promises() -> list[Promise]:
    items = re.split(r"\n(?=- \*\*|\n|#)", PAGE.read_text())
    found = (_PROMISE.match(item.strip()) for item in items)
    return [Promise(match["name"].rstrip("."), match["test"]) for match in found if match]
