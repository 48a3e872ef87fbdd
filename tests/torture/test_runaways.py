"""The short form: forty agents. The long one: `make torture`."""

from __future__ import annotations

from pathlib import Path

from tests.torture import runaways


def test_no_grandchild_survives_its_agent(home: Path) -> None:
    assert runaways.run(home, 40) == 40
