"""The named statements of `sql/*.sql`, and the migrations: read once, before the first fork, so that a daemon never runs
with those of another version.

A statement begins with `-- name: NAME` and a line that says what it does; values are always bound by name.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n-- (.+)\n", re.MULTILINE)


def parse_statements(text: str) -> dict[str, str]:
    """Name → SQL. Raises ValueError for a name given twice."""
    statements: dict[str, str] = {}
    marks = list(_NAME.finditer(text))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        if mark[1] in statements:
            raise ValueError(f"the statement {mark[1]} is there twice")
        statements[mark[1]] = text[mark.end() : following.start() if following else None].strip()
    return statements


@cache
def load_statements() -> dict[str, str]:
    folder = files(__package__) / "sql"
    return parse_statements(
        "\n".join(file.read_text() for file in sorted(folder.iterdir(), key=lambda file: file.name))
    )


@cache
def load_migrations() -> list[str]:
    """The SQL that takes an empty database to each version, in order: the first makes version 1."""
    folder = files(__package__) / "migrations"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(folder / name).read_text() for name in names]
