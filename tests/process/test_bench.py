"""Every bench still runs: with sizes too small for its figures to mean anything."""

from __future__ import annotations

import math
from importlib.util import find_spec

import pytest

from tests.bench.__main__ import NAMES, measure


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", NAMES)
def test_runs(name: str) -> None:
    if name == "capture" and not find_spec("supervisor"):
        pytest.skip("supervisord is not installed (make bench installs it)")
    rows = measure(name, short=True)
    assert rows
    assert all(math.isfinite(row.value) for row in rows)
