"""The short form of the soak: long enough for a descriptor, a thread or a child per attempt to show. Long: `make soak`."""

from __future__ import annotations

from pathlib import Path

from tests.torture import soak


def test_nothing_but_memory_still_settling_grows(home: Path) -> None:
    lines = soak.run(home, 500)
    print(soak.show(lines))
    for line in lines:
        assert line.is_flat
        assert line.last.children == line.first.children
        assert line.last.memory - line.first.memory < 10_000_000
