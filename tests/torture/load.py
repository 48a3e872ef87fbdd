"""The mixed load: jobs of every temper, submitted over and over, and what each must end as.

Every agent holds its sheet's lock while it runs, so that a sheet that runs twice at once tells (`PATH.held`). A job goes
in through the socket as `mozart run` sends it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipc.score.load import load_score
from tests.process.daemon import write_score

#: Takes its sheet's lock, then plays the script.
LOCKED = Path(__file__).with_name("locked")


@dataclass(frozen=True)
class Kind:
    """`script` is each sheet's; `ends` the states in which such a job may end."""

    name: str
    script: str
    sheets: int = 1
    ends: tuple[str, ...] = ("completed",)
    fields: Mapping[str, Any] = field(default_factory=dict)


KINDS = (
    Kind("quick", "say hello", sheets=6),
    Kind("flood", "flood 400000\nsay done", sheets=2),
    Kind("long", "tick 12 0.1\nsay done", sheets=2),
    Kind("endless", "endless 300000\nsay\nsay done"),
    Kind("runaway", "setsid 1000\nspawn 1000\nsay left two behind\nsleep 0.2"),
    Kind("deaf", "ignore TERM\nignore INT\nsetsid 1000\ntick 5 0.1"),
    Kind("retried", "attempt 1: exit 1\nsay better", sheets=2),
    Kind("failing", "say no\nexit 1", ends=("failed",), fields={"retry": {"max_retries": 1}}),
    Kind("cancelled", "say waiting\nhang", sheets=2, ends=("cancelled",)),
)


@dataclass
class Submitted:
    """An acknowledged submission."""

    job: str
    kind: Kind
    workspace: Path


def score_of(kind: Kind, directory: Path) -> Path:
    directory.mkdir(parents=True)
    fields = {"parallel": {"enabled": True, "max_concurrent": 3}, "backend": {"command": [str(LOCKED)]}, **kind.fields}
    return write_score(directory, *[kind.script] * kind.sheets, name=kind.name, **fields)


def submission(path: Path) -> dict[str, Any]:
    """The params of `submit`, as `mozart run` makes them."""
    loaded = load_score(str(path))
    document = loaded.score.model_dump(mode="json")
    return {"score": document, "path": str(loaded.path), "source": loaded.source, "environment": {}}


def choose(dice: random.Random) -> Kind:
    return dice.choice(KINDS)
