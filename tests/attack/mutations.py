"""How to take out each guard that SECURITY.md promises: one change of the program's text for each promise."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Mutation(NamedTuple):
    file: str
    old: str
    """Stands in the file exactly once."""
    new: str

    def apply(self, checkout: Path) -> None:
        path = checkout / self.file
        text = path.read_text()
        assert text.count(self.old) == 1, f"{self.file} holds {text.count(self.old)} times: {self.old}"
        path.write_text(text.replace(self.old, self.new))


#: By the promise's name.
MUTATIONS: dict[str, Mutation] = {}
