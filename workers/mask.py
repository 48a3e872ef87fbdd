"""Secrets out of an agent's output, once, before anything is stored, parsed or sent.

A byte is masked when it lies in a match of any known key format (`workers.formats`), of one of the user's patterns, or
in an exact secret value, wherever the matches begin; each run of masked bytes becomes `[masked:<kind>]`. Matches end at
line ends; only a private key's block is followed over lines. So whole lines can be settled as they come, and of an
unfinished one all but what may still become a secret: the result is the same for every way in which the output was cut
into chunks.

Hyperscan looks at each block; Python's `re` looks again only at lines where it saw something. `Mask` is immutable and
shared, its compiled databases are made before the worker is forked (`preload`); `MaskStream` is the state of one output
stream.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from workers import utf8
from workers.formats import FORMATS
from workers.keyblock import key_spans
from workers.scan import (
    KEY_BEGIN,
    MAX_HELD,
    USERS,
    VALUES_FROM,
    format_spans,
    forms,
    passwords,
    scanner,
    starts,
    values_scanner,
)
from workers.spans import Span, line_end

#: Bytes of a line's settled part that stay in sight, for keys whose public start was shown early.
CONTEXT = 32

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:[A-Z0-9]*(?:KEY|TOKEN|SECRET|PASSWORD)S?|PASSWD|PASSPHRASE|PASS|PWD|CREDENTIALS?|PAT"
    r"|[A-Z0-9]*(?:AUTH|COOKIE)S?|AUTHORIZATION|DSN|CONNECTION_STRING)(?:$|_)"
)
#: Names of places and of what may be known, not of secrets.
_PLACE_NAME = re.compile(r"_(?:FILE|PATH|DIR|SOCK|SOCKET|ID|NAME)$|^(?:OLD)?PWD$")


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """The values of variables whose names say that they are secret (`*_KEY`, `*TOKEN`, `*SECRET*`, `*PASSWORD*`, ...), and
    the passwords of all addresses."""
    named = [
        value
        for name, value in environment.items()
        if _SECRET_NAME.search(name.upper()) and not _PLACE_NAME.search(name.upper())
    ]
    return [*named, *(found for value in environment.values() if "://" in value for found in passwords(value))]


def preload(patterns: Sequence[str] = ()) -> None:
    """Compile what all attempts share, before the fork: 50 ms and 10 MB that then exist once."""
    starts()
    scanner(tuple(patterns))


class Mask:
    """What to mask in one attempt: known formats, the user's patterns (`re` syntax) and exact values."""

    def __init__(self, patterns: Sequence[str] = (), values: Iterable[str] = ()) -> None:
        self._scanner = scanner(tuple(patterns))
        self._values = values_scanner(tuple(sorted({form for value in values for form in forms(value)})))

    def __repr__(self) -> str:
        return f"<Mask {len(self._scanner.users)} patterns, {len(self._values.literals)} values>"

    def stream(self) -> MaskStream:
        return MaskStream(self)

    def apply(self, text: bytes) -> bytes:
        """The whole of a text at once."""
        stream = self.stream()
        return stream.feed(text) + stream.finish()

    def hits(self, block: bytes) -> list[tuple[int, int]]:
        """Where something may be: (pattern, end), the patterns numbered as in the scanner, then the values."""
        found = self._hits(block)
        if _may_be_escaped(block) and _ESCAPED.search(block):
            found.append((ESCAPED, 0))
        return found

    def _hits(self, block: bytes) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        self._scanner.scan(block, found)
        self._values.scan(block, found)
        return found

    def spans(self, block: bytes, hits: list[tuple[int, int]]) -> list[Span]:
        """The matches on the lines of the hits, but for private keys' blocks."""
        spans: list[Span] = []
        looked: set[tuple[int, int]] = set()
        for number, end in hits:
            if number >= VALUES_FROM:
                spans.append((end - len(self._values.literals[number - VALUES_FROM]), end, b"secret"))
                continue
            line = block.rfind(b"\n", 0, end) + 1
            if 0 <= number < len(FORMATS) and (number, line) not in looked:
                looked.add((number, line))
                spans += format_spans(number, block, line, line_end(block, end))
        if any(number == USERS for number, _ in hits):
            spans += self._scanner.user_spans(block)
        if any(number == ESCAPED for number, _ in hits):
            spans += self._escaped_spans(block)
        return spans

    def _escaped_spans(self, block: bytes) -> Iterator[Span]:
        """What is a secret once its escapes are read, as whoever shows or parses the JSON will read them."""
        plain, places = _unescaped(block)
        for start, end, kind in self.spans(plain, self._hits(plain)):
            yield places.of(start), places.of(end), kind

    def waits_from(self, line: bytes, hasty: bool) -> int:
        """From where on an unfinished line must wait, because a secret may have begun there.

        Hasty: someone may be waiting for what is there (a prompt), so the first letters of a public start, or the first
        letter of a value, are let through. Should the secret follow, the rest of it is masked all the same.
        """
        return min(
            starts().waits_from(line, hasty),
            self._values.waits_from(line, 2 if hasty else 1),
            self._scanner.users_wait_from(line),
        )


#: Letters, digits, signs and slashes as JSON may have them, JSON within JSON, and addresses: any of them, or only some.
_ESCAPED = re.compile(rb"(?:\\{1,4}u00|%)([2-7][0-9A-Fa-f])|\\{1,4}/")
#: What the scanner's numbers cannot be: there are escapes.
ESCAPED = -1


def _may_be_escaped(block: bytes) -> bool:
    # One letter is looked for ten times faster than several, and most of what is printed has neither.
    return b"%" in block or (b"\\" in block and (b"\\u00" in block or b"\\/" in block))


class _Places:
    """Where a place in the plain text lies in what was escaped."""

    def __init__(self, plain: list[int], shifts: list[int]) -> None:
        self._plain = plain
        self._shifts = shifts

    def of(self, place: int) -> int:
        known = bisect_right(self._plain, place)
        return place + (self._shifts[known - 1] if known else 0)


def _unescaped(block: bytes) -> tuple[bytes, _Places]:
    pieces: list[bytes] = []
    plain: list[int] = []
    shifts: list[int] = []
    position = shift = 0
    for found in _ESCAPED.finditer(block):
        pieces += (block[position : found.start()], bytes([int(found[1], 16)]) if found[1] else b"/")
        position = found.end()
        shift += len(found[0]) - 1
        plain.append(position - shift)
        shifts.append(shift)
    return b"".join([*pieces, block[position:]]), _Places(plain, shifts)


class Text(NamedTuple):
    """The bytes of a block from `start`, which is 0 or behind its first newline, to `stop`."""

    block: bytes
    start: int
    stop: int


def whole(block: bytes) -> Text:
    return Text(block, 0, len(block))


class MaskStream:
    """One stream of output on its way through the mask. Feed it chunks; it gives back what is settled."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._line = b""
        """The unfinished line: up to CONTEXT bytes that were given out, then what waits."""
        self._given = 0
        """How much of `_line` was given out."""
        self._covered = 0
        """How many of the waiting bytes belong to a secret whose replacement was given out."""
        self._key_lines = 0
        """Lines that may follow in the private key's block we are in; 0 outside."""

    @property
    def holds(self) -> bool:
        """Whether something waits for the rest of its line."""
        return len(self._line) > self._given

    def feed(self, chunk: bytes) -> bytes:
        """Everything that is settled by now: whole lines, and of a very long one what cannot become a secret."""
        return b"".join(block[start:stop] for block, start, stop in self.sift(chunk))

    def sift(self, chunk: bytes) -> list[Text]:
        """As `feed`, without copying a chunk in which there is nothing to mask."""
        newline = chunk.rfind(b"\n") + 1
        if not newline:
            self._line += chunk
            return [whole(self._piece(hasty=False))] if len(self._line) > MAX_HELD else []
        texts = self._clean(chunk, newline) or [whole(self._lines(self._line + chunk[:newline]))]
        self._line, self._given, self._covered = chunk[newline:], 0, 0
        if len(self._line) > MAX_HELD:
            texts.append(whole(self._piece(hasty=False)))
        return texts

    def _clean(self, chunk: bytes, stop: int) -> list[Text]:
        """The line that ends in the chunk, and the chunk's own; nothing unless all of it may pass as it is."""
        if self._given or self._key_lines or self._mask.hits(chunk):
            return []
        if not self._line:
            return [Text(chunk, 0, stop)]
        start = chunk.find(b"\n") + 1
        first = self._line + chunk[:start]
        return [] if self._mask.hits(first) else [whole(first), Text(chunk, start, stop)]

    def hasten(self) -> bytes:
        """As much of the unfinished line as may be shown although its end is not known."""
        return b"" if self._key_lines or not self.holds else self._piece(hasty=True)

    def finish(self) -> bytes:
        """The rest, at the end of the stream."""
        settled = self._lines(self._line)
        self._line, self._given, self._covered = b"", 0, 0
        return settled

    def _lines(self, block: bytes) -> bytes:
        hits = self._mask.hits(block)
        if not hits and not self._key_lines:
            return block[self._given + self._covered :] if self._given or self._covered else block
        spans = self._mask.spans(block, hits)
        begins = [end for number, end in hits if number == KEY_BEGIN]
        keys, self._key_lines = key_spans(block, begins, self._key_lines)
        return self._replace(block, len(block), spans + keys)[0]

    def _piece(self, hasty: bool) -> bytes:
        line = self._line
        hits = self._mask.hits(line)
        spans = self._mask.spans(line, hits)
        if hits or self._key_lines:
            # A line this long is none of a key's block, which therefore ends here; hasten() does not come here within
            # one.
            spans += key_spans(line, [end for number, end in hits if number == KEY_BEGIN], self._key_lines)[0]
            self._key_lines = 0
        cut = max(self._mask.waits_from(line, hasty), self._given)
        cut = max(utf8.border(line, cut), self._given)
        settled, self._covered = self._replace(line, cut, spans)
        keep = max(cut - CONTEXT, 0)
        self._line, self._given = line[keep:], cut - keep
        return settled

    def _replace(self, text: bytes, cut: int, spans: list[Span]) -> tuple[bytes, int]:
        """`text` from what was given out to `cut`, masked; and how far behind `cut` what was masked goes on."""
        pieces: list[bytes] = []
        covered = self._given + self._covered
        for start, end, kind in sorted(spans):
            if start >= cut:
                break
            if end > covered:
                if start >= covered or covered == self._given:
                    pieces += (text[covered : max(start, covered)], b"[masked:%s]" % kind)
                covered = end
        if covered < cut:
            pieces.append(text[covered:cut])
        return b"".join(pieces), max(covered - cut, 0)
