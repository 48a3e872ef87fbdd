"""What the renderers share: keeping track of whether the cursor stands at the beginning of a line, and cleaning text.

An agent's text goes to a terminal: control characters other than newline and tab are dropped, so that no output of a
model can move the cursor, ring or retitle the window.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backends.base import STDERR
from backends.records import decoded, record, text

_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))
#: Characters of a tool's argument, or of its error, worth one line.
TELLING = 160


def clean(value: Any) -> str:
    """Its text; a carriage return begins a new line, so that nothing is glued to what it would have been written over."""
    words = text(value)
    if "\r" in words:
        words = words.replace("\r\n", "\n").replace("\r", "\n")
    return words.translate(_CONTROLS)


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


#: Where an error record may have what it says, the most telling first; and what an agent may have wrapped it in.
_SAID = ("message", "error", "errors", "detail", "details", "reason", "result", "text", "content", "output", "data")
_WRAPPED = ("event", "item", "part", "response", "data", "params")
_FAILED = frozenset({"error", "failed", "failure"})


def trouble(item: Mapping[str, Any]) -> str:
    """What an agent's record says has gone wrong, whatever it calls that; nothing when it is no error."""
    if _is_error(item):
        said = _words(item.get("error"), 3) or _words(item.get("errors"), 3) or _words(item, 3)
        return said or clean(item.get("type")) or "error"
    wrapped = (item[key] for key in _WRAPPED if isinstance(item.get(key), dict))
    return next((trouble(inner) for inner in wrapped if _is_error(inner)), "")


def _is_error(item: Mapping[str, Any]) -> bool:
    kinds = (text(item.get("type")), text(item.get("subtype")))
    told = item.get("error") or item.get("errors") or item.get("is_error") is True
    return (
        bool(told)
        or text(item.get("status")) in _FAILED
        or any(re.search("error|fail", kind, re.IGNORECASE) for kind in kinds)
    )


def _words(value: Any, depth: int) -> str:
    """The words in there."""
    if isinstance(value, str):
        return clean(value).strip()
    if not depth or not isinstance(value, Mapping | list):
        return ""
    parts = value if isinstance(value, list) else [value.get(key) for key in _SAID]
    found = [words for part in parts[:20] if (words := _words(part, depth - 1))]
    return "; ".join(found) if isinstance(value, list) else (found or [""])[0]


class Owed:
    """Errors of which a renderer showed nothing: most agents say them again when they end, and then once is enough.

    One that is not said again by what is shown next is shown before it, or at the end.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._said = ""

    def before(self, show: Callable[[], str], trouble: str) -> str:
        """What `show` makes of an item that speaks of this trouble, and before it what was owed until now."""
        midline = self._page.midline
        shown = show()
        if not shown:
            said = one_line(trouble, 300)
            if not said or said == self._said:
                return ""
            owed, self._said = self._said, said
            return self._page.line(f"✗ {owed}") if owed else ""
        owed, self._said = self._said, ""
        if not owed or owed.rstrip("…")[:120] in shown:
            return shown
        return f"{chr(10) * midline}✗ {owed}\n" + (shown.removeprefix("\n") if midline else shown)

    def finish(self) -> str:
        owed, self._said = self._said, ""
        return self._page.line(f"✗ {owed}") if owed else self._page.fresh()


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
        self._owed = Owed(self._page)

    def feed(self, stream: str, line: bytes) -> str:
        if stream == STDERR:
            return self._show_stderr(line)
        item = record(line) if line.startswith(b"{") else None
        if item is None or not isinstance(item.get("type"), str):
            return self._page.line(clean(decoded(line)))
        return self._owed.before(lambda: self._show(item), trouble(item))

    def finish(self) -> str:
        return self._owed.finish()

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
