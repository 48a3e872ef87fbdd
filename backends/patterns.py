"""Whether a pattern is over at once whatever an agent printed. Pure; no pattern is run here.

`re` tries every way in which a pattern may fit, and a score's or a profile's author does not count them. A pattern is tame when
there are few: no repetition without a small bound, none inside another, no choice inside one. What is not tame is matched
where it can be given up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from re import _parser as sre  # type: ignore[attr-defined]
from typing import Any

#: Ways in which a tame pattern may fit at one place, at most.
FEW = 64
#: Characters of one, at most: reading it takes time, too.
LONGEST = 500
_LETTERS = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN", "CATEGORY", "RANGE"})


def are_tame(patterns: Iterable[str]) -> bool:
    return all(is_tame(pattern) for pattern in patterns)


@lru_cache(maxsize=256)
def is_tame(pattern: str) -> bool:
    if len(pattern) > LONGEST:
        return False
    try:
        return _ways(sre.parse(pattern)) <= FEW
    except (re.error, RecursionError, OverflowError):
        return False


def is_steady(pattern: str) -> bool:
    """Whether looking for all its places in a text takes time in proportion to the text. Tame, but for what it may look at
    around it, and for one letter's repetition at its very end: that takes what is there and never has to give it back."""
    if len(pattern) > LONGEST:
        return False
    try:
        parts = list(sre.parse(pattern))
    except (re.error, RecursionError, OverflowError):
        return False
    if parts and str(parts[-1][0]) == "MAX_REPEAT":
        least, most, inner = parts[-1][1]
        if most is sre.MAXREPEAT and least <= FEW and len(inner) == 1 and str(inner[0][0]) in _LETTERS:
            parts.pop()
    return _ways(_without_surroundings(parts)) <= FEW


def _without_surroundings(parts: Iterable[Any]) -> Iterator[Any]:
    for operation, value in parts:
        if str(operation) in ("ASSERT", "ASSERT_NOT"):
            yield from _without_surroundings(value[1])
        else:
            yield operation, value


def _ways(parsed: Any) -> int:
    ways = 1
    for operation, value in parsed:
        ways *= _ways_of(str(operation), value)
        if ways > FEW:
            break
    return ways


def _ways_of(operation: str, value: Any) -> int:
    if operation in _LETTERS or operation == "AT":
        return 1
    if operation == "BRANCH":
        return sum(_ways(each) for each in value[1])
    if operation == "SUBPATTERN":
        return _ways(value[-1])
    if operation in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, inner = value
        ways = _ways(inner)
        return (int(most) - int(least) + 1) if ways == 1 else FEW + 1 if most > 1 else 1 + ways
    return FEW + 1
