"""What the renderers share: keeping track of whether the cursor stands at the beginning of a line, and cleaning text.

An agent's text goes to a terminal: control characters other than newline and tab are dropped, so that no output of a
model can move the cursor, ring or retitle the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backends.base import STDERR
from backends.records import decoded, record, text

_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))
#: Characters of a tool's argument, or of its error, worth one line.
TELLING = 160


def clean(value: Any) -> str:
    return text(value).translate(_CONTROLS)


def brief(value: Any, limit: int = TELLING) -> str:
    """Its first line, shortened; how many more there are."""
    lines = clean(value).strip().split("\n")
    first, more = _cut(lines[0].strip(), limit), len(lines) - 1
    return f"{first} (+{more} line{'s' * (more > 1)})" if more else first


def one_line(value: Any, limit: int = TELLING) -> str:
    """Its lines in one, shortened."""
    return _cut(" ⏎ ".join(line.strip() for line in clean(value).split("\n") if line.strip()), limit)


def call(name: str, arguments: Mapping[str, Any], telling: Sequence[str]) -> str:
    """A tool call in one line: its name and the argument that tells most."""
    found: Any = next((arguments[key] for key in telling if isinstance(arguments.get(key), str)), None)
    if found is None:
        found = " ".join(f"{key}={value}" for key, value in arguments.items())
    return f"{name}: {brief(found)}" if found else name


def _cut(words: str, limit: int) -> str:
    return words[: limit - 1] + "…" if len(words) > limit else words


class Page:
    """Where the cursor stands. `stream` continues a line, `line` begins a new one."""

    def __init__(self) -> None:
        self.midline = False

    def stream(self, words: str) -> str:
        if words:
            self.midline = not words.endswith("\n")
        return words

    def line(self, words: str) -> str:
        return self.fresh() + words + "\n"

    def fresh(self) -> str:
        """A newline if one is needed."""
        before, self.midline = "\n" if self.midline else "", False
        return before


class Records:
    """The frame of renderers for agents that print one JSON object a line, with its `type`; what is none is shown as it is.
    Each says in `_show` what its records look like."""

    noise: tuple[bytes, ...] = ()
    """How lines on stderr begin that tell nobody anything."""

    def __init__(self) -> None:
        self._page = Page()

    def feed(self, stream: str, line: bytes) -> str:
        if stream == STDERR:
            return self._show_stderr(line)
        item = record(line) if line.startswith(b"{") else None
        if item is None or not isinstance(item.get("type"), str):
            return self._page.line(clean(decoded(line)))
        return self._show(item)

    def finish(self) -> str:
        return self._page.fresh()

    def _show_stderr(self, line: bytes) -> str:
        return "" if self.noise and line.startswith(self.noise) else self._page.line(clean(decoded(line)))

    def _show(self, item: dict[str, Any]) -> str:
        raise NotImplementedError


class Plain:
    """Lines as they are."""

    def feed(self, stream: str, line: bytes) -> str:
        return decoded(line) + "\n"

    def finish(self) -> str:
        return ""
