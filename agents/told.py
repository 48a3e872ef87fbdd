"""What an agent of ours is told and what it tells: one JSON object on stdin, one JSON object a line on stdout.

`Failed` is every way an agent can fail, with the facts by which `backends.api` judges; its `kind` is a word of
`backends.failures`, or empty when an HTTP status says it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    options: Mapping[str, Any]
    """The score's backend section."""
    prompt: str
    system: str | None
    session_id: str

    @classmethod
    def read(cls) -> Task:
        return cls(**json.loads(sys.stdin.buffer.read()))


class Failed(Exception):  # noqa: N818 - an ending, not a mistake in here
    def __init__(
        self,
        kind: str,
        message: str,
        hint: str = "",
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.facts = {"kind": kind, "message": message, "hint": hint, "status": status, "headers": dict(headers or {})}


def tell(what: str, **facts: Any) -> None:
    """One line, written at once: whoever watches sees each word as it comes."""
    line = memoryview(json.dumps({"type": what, **facts}, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
    while line:
        line = line[os.write(1, line) :]


def missing(package: str, extra: str) -> Failed:
    hint = f"pip install 'mozartd[{extra}]' where the daemon runs"
    return Failed("missing", f"cannot import the package {package}", hint)
