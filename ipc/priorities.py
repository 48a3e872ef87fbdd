"""A job's priority: the words that stand for numbers, the same in a score, on the command line and on the wire.

Twenty more is twice the share; what that means for the order of sheets is `mozartd.coordinator.schedule`'s.
"""

from __future__ import annotations

from typing import Any

LOWEST, HIGHEST = -100, 100
WORDS = {"lowest": LOWEST, "low": -40, "normal": 0, "high": 40, "highest": HIGHEST}

ALLOWED = f"a number from {LOWEST} to {HIGHEST}, or {', '.join(list(WORDS)[:-1])} or {list(WORDS)[-1]}"


def number_of(written: Any) -> Any:
    """The number that a word stands for; anything else as it is."""
    return WORDS.get(written, written) if isinstance(written, str) else written
