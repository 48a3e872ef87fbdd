"""What is wrong with a score, for people and for scripts.

A `Problem` is one finding with its place in the file; a `ScoreError` carries those that make the score unusable. Codes are
score-format §7's (V...) or, where a field or the file itself is at fault, §8's configuration codes (E3xx).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ipc.errors import EXIT_USAGE, MozartError

ERROR, WARNING, INFO = "error", "warning", "info"

#: Where something is in a score: keys and list indexes from the top.
Field = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    severity: str
    message: str
    hint: str = ""
    file: str = ""
    line: int | None = None
    """From 1; None when the value came from the command line."""
    column: int | None = None
    field: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line is not None else self.file
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{place}: {self.code} {self.severity}: {self.message}{hint}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class ScoreError(MozartError):
    """The score cannot be used. `unreadable`: not even its fields could be looked at."""

    def __init__(self, path: str, problems: Iterable[Problem], unreadable: bool = False) -> None:
        self.problems = list(problems)
        self.unreadable = unreadable
        lines = "\n".join(str(problem) for problem in self.problems)
        super().__init__(self.problems[0].code, f"cannot use the score {path}\n{lines}", "", EXIT_USAGE)


def errors_of(problems: Sequence[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == ERROR]


def dotted(field: Field) -> str:
    """`validations[2].path`, as people write it."""
    text = ""
    for part in field:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; empty when none is close."""
    import difflib  # only when something is wrong

    lowered = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.72)
    # A beginning is meant, too: codex, for codex_cli.
    found = found or [name for name in lowered if len(word) > 3 and name.startswith(word.lower())]
    return lowered[found[0]] if found else ""


def suggestion(word: str, known: Iterable[str]) -> str:
    """A hint naming the nearest known word; empty when none is close."""
    found = nearest(word, known)
    return f"did you mean {found!r}?" if found else ""


def misspelt(word: str, known: Iterable[str]) -> str:
    """The known word that differs by a slip or two of the finger; empty for any other word."""
    most = 2 if len(word) > 5 else 1
    found = [(distance, name) for name in known if 0 < (distance := _distance(word, name, most)) <= most]
    return min(found)[1] if found and len(word) > 2 else ""


def _distance(one: str, other: str, most: int) -> int:
    """Letters to add, drop, change or swap; above `most` it does not matter."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b)))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]


def shown(value: object, limit: int = 60) -> str:
    """What was found, short enough for a sentence."""
    text = {"None": "nothing", "True": "true", "False": "false"}.get(repr(value), repr(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"
