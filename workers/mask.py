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

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import hyperscan

from ipc.errors import EXIT_USAGE, MozartError
from workers import formats, utf8
from workers.formats import FORMATS, KEY_LINE_MOST, KEY_LINES, KEY_REACH, LONGEST

#: An unfinished line above this is settled in pieces, whatever may follow.
MAX_HELD = 64 * 1024
#: Longest match of a user's pattern that is found wherever such a piece ends.
USER_REACH = 4096
#: Exact values shorter than this would mask ordinary words.
SHORTEST_VALUE = 8
#: Bytes of a line's settled part that stay in sight, for keys whose public start was shown early.
CONTEXT = 32

Span = tuple[int, int, bytes]

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:[A-Z0-9]*(?:KEY|TOKEN|SECRET|PASSWORD)S?|PASSWD|PASSPHRASE|PASS|PWD|CREDENTIALS?|PAT)(?:$|_)"
)
#: Names of places and of what may be known, not of secrets.
_PLACE_NAME = re.compile(r"_(?:FILE|PATH|DIR|SOCK|SOCKET|ID|NAME)$|^(?:OLD)?PWD$")


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """The values of variables whose names say that they are secret (`*KEY`, `*TOKEN*`, `*SECRET*`, `*PASSWORD*`,
    ...)."""
    return [
        value
        for name, value in environment.items()
        if _SECRET_NAME.search(name.upper()) and not _PLACE_NAME.search(name.upper())
    ]


def preload(patterns: Sequence[str] = ()) -> None:
    """Compile what all attempts share, before the fork: 50 ms and 10 MB that then exist once."""
    _starts()
    _scanner(tuple(patterns))


class Mask:
    """What to mask in one attempt: known formats, the user's patterns (`re` syntax) and exact values."""

    def __init__(self, patterns: Sequence[str] = (), values: Iterable[str] = ()) -> None:
        self._scanner = _scanner(tuple(patterns))
        self._values = _values(tuple(sorted({form for value in values for form in forms(value)})))

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
        found: list[tuple[int, int]] = []
        self._scanner.scan(block, found)
        self._values.scan(block, found)
        return found

    def spans(self, block: bytes, hits: list[tuple[int, int]]) -> list[Span]:
        """The matches on the lines of the hits, but for private keys' blocks."""
        spans: list[Span] = []
        looked: set[tuple[int, int]] = set()
        for number, end in hits:
            if number >= _VALUES_FROM:
                spans.append((end - len(self._values.literals[number - _VALUES_FROM]), end, b"secret"))
                continue
            line = block.rfind(b"\n", 0, end) + 1
            if number < len(FORMATS) and (number, line) not in looked:
                looked.add((number, line))
                spans += _format_spans(number, block, line, _line_end(block, end))
        if any(number == _USERS for number, _ in hits):
            spans += self._scanner.user_spans(block)
        return spans

    def waits_from(self, line: bytes, hasty: bool) -> int:
        """From where on an unfinished line must wait, because a secret may have begun there.

        Hasty: someone may be waiting for what is there (a prompt), so the first letters of a public start, or the first
        letter of a value, are let through. Should the secret follow, the rest of it is masked all the same.
        """
        return min(
            _starts().waits_from(line, hasty),
            self._values.waits_from(line, 2 if hasty else 1),
            self._scanner.users_wait_from(line),
        )


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
        begins = [end for number, end in hits if number == _KEY_BEGIN]
        keys, self._key_lines = key_spans(block, begins, self._key_lines)
        return self._replace(block, len(block), spans + keys)[0]

    def _piece(self, hasty: bool) -> bytes:
        line = self._line
        hits = self._mask.hits(line)
        spans = self._mask.spans(line, hits)
        if hits or self._key_lines:
            # A line this long is none of a key's block, which therefore ends here; hasten() does not come here within
            # one.
            spans += key_spans(line, [end for number, end in hits if number == _KEY_BEGIN], self._key_lines)[0]
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


# ---- known formats --------------------------------------------------------------------------------------------------

#: Numbers of what the scanner reports: the formats by their place in the table, then these.
_KEY_BEGIN = len(FORMATS)
_USERS = _KEY_BEGIN + 1
_VALUES_FROM = _USERS + 1


@cache
def _format_regex(number: int) -> re.Pattern[bytes]:
    return re.compile(b"(?:%s)%s" % (_any_of(FORMATS[number].starts), FORMATS[number].rest))


_KEY_BEGIN_REGEX = re.compile(formats.KEY_BEGIN)
_KEY_END_REGEX = re.compile(formats.KEY_END)
_KEY_BODY_REGEX = re.compile(formats.KEY_BODY)
_KEY_LINE_REGEX = re.compile(formats.KEY_LINE)


def _any_of(literals: Iterable[bytes]) -> bytes:
    return b"|".join(map(re.escape, literals))


class _Starts:
    """Where a known format may have begun that an unfinished line does not show whole yet."""

    def __init__(self) -> None:
        starts = [(start, number) for number, entry in enumerate(FORMATS) for start in entry.starts]
        starts.append((formats.KEY_START, _KEY_BEGIN))
        self._literals = [start for start, _ in starts]
        self._formats = [number for _, number in starts]
        self._database = _compile(self._literals, list(range(len(starts))), 0, literal=True)
        self._alphabets = [_alphabet(entry.within) for entry in FORMATS]
        self._parts = frozenset(start[:n] for start in self._literals for n in range(1, len(start)))
        self._longest_part = max(map(len, self._parts))

    def waits_from(self, line: bytes, hasty: bool) -> int:
        """From the first start on that is followed by nothing that could not belong to its secret, to the end."""
        window = line[max(len(line) - LONGEST, 0) :]
        found: list[tuple[int, int]] = []
        _scan(self._database, window, found)
        if found:
            since = {number: self._run(window, number) for number in {self._formats[start] for start, _ in found}}
            begun = [end - len(self._literals[start]) for start, end in found if end >= since[self._formats[start]]]
            if begun:
                return len(line) - len(window) + min(begun)
        return len(line) if hasty else len(line) - self._part_at_end(line)

    def _run(self, window: bytes, number: int) -> int:
        """Where the last run of bytes begins that may all belong to a secret of this format."""
        return 0 if number == _KEY_BEGIN else len(window.rstrip(self._alphabets[number]))

    def _part_at_end(self, line: bytes) -> int:
        """How much of a start stands at the very end."""
        lengths = range(min(self._longest_part, len(line)), 0, -1)
        return next((length for length in lengths if line[-length:] in self._parts), 0)


@cache
def _starts() -> _Starts:
    return _Starts()


def _alphabet(bytes_class: bytes) -> bytes:
    regex = re.compile(bytes_class)
    return bytes(byte for byte in range(256) if regex.match(bytes([byte])))


def _format_spans(number: int, block: bytes, start: int, end: int) -> Iterator[Span]:
    """Every match, also those that begin within another: a key may follow what only looked like one."""
    regex, kind = _format_regex(number), FORMATS[number].kind.encode()
    match = regex.search(block, start, end)
    while match:
        yield match.start(), match.end(), kind
        match = regex.search(block, match.start() + 1, end)


def _line_end(block: bytes, position: int) -> int:
    end = block.find(b"\n", position)
    return len(block) if end < 0 else end


# ---- private keys' blocks -------------------------------------------------------------------------------------------


def key_spans(block: bytes, begins: list[int], lines_left: int) -> tuple[list[Span], int]:
    """What belongs to private keys, and how many lines of an unfinished one may follow. `begins`: ends of first
    markers."""
    spans: list[Span] = []
    position, begins = 0, sorted(begins)
    while position < len(block):
        if lines_left:
            stop, lines_left = _key_line(block, position, lines_left)
            if stop > position:
                spans.append((position, stop, b"private-key"))
            # Behind an end marker the same line goes on, outside.
            position = _line_end(block, stop) + 1 if lines_left else stop
            continue
        following = bisect_left(begins, position + 1)
        if following == len(begins):
            break
        start = max(block.rfind(b"\n", 0, begins[following]) + 1, position)
        end = _line_end(block, start)
        found, goes_on = _key_first_line(block, start, end)
        spans += found
        position, lines_left = end + 1, KEY_LINES if goes_on else 0
    return spans, lines_left


def _key_first_line(block: bytes, start: int, end: int) -> tuple[list[Span], bool]:
    """The blocks that begin on a line, and whether the last of them goes on behind it."""
    ends = [match.span() for match in _KEY_END_REGEX.finditer(block, start, end)]
    spans: list[Span] = []
    goes_on = False
    for begin in _KEY_BEGIN_REGEX.finditer(block, start, end):
        place = bisect_left(ends, (begin.end(), 0))
        closed = place < len(ends) and ends[place][0] - begin.end() <= KEY_REACH
        if closed:
            stop = ends[place][1]
        else:
            body = _KEY_BODY_REGEX.match(block, begin.end(), end)
            stop = body.end() if body else begin.end()
        spans.append((begin.start(), stop, b"private-key"))
        goes_on = not closed and stop == _without_return(block, stop, end)
    return spans, goes_on


def _key_line(block: bytes, start: int, lines_left: int) -> tuple[int, int]:
    """To where a line belongs to the block begun before it, and how many lines may follow then."""
    end = _line_end(block, start)
    last = _KEY_END_REGEX.search(block, start, min(end, start + KEY_LINE_MOST))
    if last:
        return last.end(), 0
    bare = _without_return(block, start, end)
    if bare - start < KEY_LINE_MOST and _KEY_LINE_REGEX.fullmatch(block, start, bare):
        return bare, lines_left - 1
    return start, 0


def _without_return(block: bytes, start: int, end: int) -> int:
    return end - 1 if end > start and block[end - 1] == 0x0D else end


# ---- the scanner: known formats and the user's patterns --------------------------------------------------------------


class _User(NamedTuple):
    regex: re.Pattern[bytes]
    start: bytes
    """The letters every match begins with; empty when that is not known."""


class _Scanner:
    """One Hyperscan database for all formats and patterns; patterns it cannot take are always looked for."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.users = [_user(pattern) for pattern in patterns]
        expressions = [b"(?:%s)%s" % (_any_of(f.starts), f.enough) for f in FORMATS] + [formats.KEY_BEGIN]
        flags = [0] * len(expressions)
        numbers = list(range(len(expressions)))
        self._beyond_hyperscan = False
        for user in self.users:
            if _compiles(user.regex.pattern):
                expressions.append(user.regex.pattern)
                flags.append(_USER_FLAGS)
                numbers.append(_USERS)
            else:
                self._beyond_hyperscan = True
        self._database = _compile(expressions, numbers, flags)

    def scan(self, block: bytes, found: list[tuple[int, int]]) -> None:
        _scan(self._database, block, found)
        if self._beyond_hyperscan:
            found.append((_USERS, 0))

    def user_spans(self, block: bytes) -> Iterator[Span]:
        start = 0
        for line in block.split(b"\n"):
            for user in self.users:
                for match in user.regex.finditer(line):
                    if match.end() > match.start():
                        yield start + match.start(), start + match.end(), b"pattern"
            start += len(line) + 1

    def users_wait_from(self, line: bytes) -> int:
        """A match may end anywhere, so everything waits from the first place where one can begin, within reason."""
        places = [_begins_at(line, user.start) for user in self.users]
        place = min(places, default=len(line))
        return place if len(line) - place <= MAX_HELD else len(line) - USER_REACH


_USER_FLAGS = (
    hyperscan.HS_FLAG_PREFILTER
    | hyperscan.HS_FLAG_SINGLEMATCH
    | hyperscan.HS_FLAG_MULTILINE
    | hyperscan.HS_FLAG_ALLOWEMPTY
)


@lru_cache(maxsize=4)
def _scanner(patterns: tuple[str, ...]) -> _Scanner:
    return _Scanner(patterns)


def _user(pattern: str) -> _User:
    try:
        regex = re.compile(pattern.encode())
    except re.error as error:
        raise MozartError(
            "E301", f"cannot use the mask pattern {pattern!r}: {error}", "see the setting mask_patterns", EXIT_USAGE
        ) from None
    plain = re.match(rb"[A-Za-z0-9_-]*(?![*+?{])", regex.pattern)
    return _User(regex, plain[0] if plain and b"|" not in regex.pattern else b"")


def _compiles(expression: bytes) -> bool:
    try:
        _compile([expression], [0], [_USER_FLAGS])
    except hyperscan.error:
        return False
    return True


def _compile(expressions: list[bytes], numbers: list[int], flags: list[int] | int, literal: bool = False) -> Any:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=expressions, ids=numbers, flags=flags, literal=literal)
    return database


def _scan(database: Any, block: bytes, found: list[tuple[int, int]]) -> None:
    database.scan(block, match_event_handler=lambda number, _, end, *rest: found.append((number, end)))


def _begins_at(line: bytes, start: bytes) -> int:
    """The first place where `start` stands or may come to stand; 0 when it is not known."""
    place = line.find(start)
    if place >= 0:
        return place
    return next((len(line) - n for n in range(len(start) - 1, 0, -1) if line.endswith(start[:n])), len(line))


# ---- exact values ---------------------------------------------------------------------------------------------------


def forms(value: str) -> Iterator[bytes]:
    """How a value may appear on one line: as it is, as in JSON, and each line of one that has several."""
    value = value.strip()
    for form in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], *value.splitlines()):
        text = form.strip().encode("utf-8", "surrogateescape")
        if len(text) >= SHORTEST_VALUE and len(set(text)) > 3:
            yield text


class _Values:
    def __init__(self, literals: tuple[bytes, ...]) -> None:
        self.literals = literals
        self._longest = max(map(len, literals), default=0)
        numbers = [_VALUES_FROM + n for n in range(len(literals))]
        self._database = _compile(list(literals), numbers, 0, literal=True) if literals else None

    def scan(self, block: bytes, found: list[tuple[int, int]]) -> None:
        if self._database is not None:
            _scan(self._database, block, found)

    def waits_from(self, line: bytes, least: int) -> int:
        """Where the longest beginning of a value stands at the end of the line, if at least that long."""
        return min((_waits_for(value, line, least) for value in self.literals), default=len(line))


def _waits_for(value: bytes, line: bytes, least: int) -> int:
    start = max(len(line) - len(value) + 1, 0)
    while (start := line.find(value[:least], start)) >= 0:
        if value.startswith(line[start:]):
            return start
        start += 1
    return len(line)


@lru_cache(maxsize=64)
def _values(literals: tuple[bytes, ...]) -> _Values:
    return _Values(literals)
