"""Where secrets may be in a block, by Hyperscan: known formats, the user's patterns, exact values. For `workers.mask`.

Hyperscan says at 4,000 MB/s where a match ends and which one it is; where it begins and how far it goes, Python's `re` finds
out, for the few lines with something on them. The databases are compiled once, before the worker is forked.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import hyperscan

from backends.patterns import is_steady
from ipc.errors import EXIT_USAGE, MozartError
from workers import formats
from workers.formats import FORMATS, LONGEST
from workers.spans import Span

#: An unfinished line above this is settled in pieces, whatever may follow.
MAX_HELD = 64 * 1024
#: Longest match of a user's pattern that is found wherever such a piece ends.
USER_REACH = 4096
#: Exact values shorter than this would mask ordinary words.
SHORTEST_VALUE = 8
#: What else would: settings whose names only sound secret, and places.
_COMMON = frozenset({
    "anonymous", "authenticated", "automatic", "basic-auth", "certificate", "changeme", "credential", "credentials",
    "default-auth", "delegated", "development", "disabled", "enabled", "external", "interactive", "internal", "kerberos",
    "keychain", "keyring", "localhost", "negotiate", "optional", "passthrough", "password", "placeholder", "production",
    "publickey", "redacted", "required", "unauthenticated", "undefined", "unlimited", "username", "your-api-key",
    "your_api_key",
})  # fmt: skip
_PLACE = re.compile(r"(?:~|\.{0,2})(?:/[A-Za-z0-9._@ -]{1,64}){1,32}/?|[A-Za-z][A-Za-z0-9+.-]{0,31}://[^@\s]*")
_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s/:@]*:([^\s/@]+)@")

# ---- known formats --------------------------------------------------------------------------------------------------

#: Numbers of what the scanner reports: the formats by their place in the table, then these.
KEY_BEGIN = len(FORMATS)
USERS = KEY_BEGIN + 1
VALUES_FROM = USERS + 1


@cache
def _format_regex(number: int) -> re.Pattern[bytes]:
    return re.compile(b"(?:%s)%s" % (_any_of(FORMATS[number].starts), FORMATS[number].rest))


def _any_of(literals: Iterable[bytes]) -> bytes:
    return b"|".join(map(re.escape, literals))


class Starts:
    """Where a known format may have begun that an unfinished line does not show whole yet."""

    def __init__(self) -> None:
        starts = [(start, number) for number, entry in enumerate(FORMATS) for start in entry.starts]
        starts.append((formats.KEY_START, KEY_BEGIN))
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
        return 0 if number == KEY_BEGIN else len(window.rstrip(self._alphabets[number]))

    def _part_at_end(self, line: bytes) -> int:
        """How much of a start stands at the very end."""
        lengths = range(min(self._longest_part, len(line)), 0, -1)
        return next((length for length in lengths if line[-length:] in self._parts), 0)


@cache
def starts() -> Starts:
    return Starts()


def _alphabet(bytes_class: bytes) -> bytes:
    regex = re.compile(bytes_class)
    return bytes(byte for byte in range(256) if regex.match(bytes([byte])))


def format_spans(number: int, block: bytes, start: int, end: int) -> Iterator[Span]:
    """Every match, also those that begin within another: a key may follow what only looked like one."""
    regex, kind = _format_regex(number), FORMATS[number].kind.encode()
    match = regex.search(block, start, end)
    group = min(regex.groups, 1)
    while match:
        yield match.start(group), match.end(group), kind
        match = regex.search(block, match.start() + 1, end)


# ---- the scanner: known formats and the user's patterns --------------------------------------------------------------


class _User(NamedTuple):
    regex: re.Pattern[bytes]
    exact: Any
    """What finds its places where `re` might try for ever; None when that may look for them."""
    start: bytes
    """The letters every match begins with; empty when that is not known."""


class Scanner:
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
                numbers.append(USERS)
            else:
                self._beyond_hyperscan = True
        self._database = _compile(expressions, numbers, flags)

    def scan(self, block: bytes, found: list[tuple[int, int]]) -> None:
        _scan(self._database, block, found)
        if self._beyond_hyperscan:
            found.append((USERS, 0))

    def user_spans(self, block: bytes) -> Iterator[Span]:
        start = 0
        for line in block.split(b"\n"):
            for user in self.users:
                for begin, end in _places(user, line):
                    if end > begin:
                        yield start + begin, start + end, b"pattern"
            start += len(line) + 1

    def users_wait_from(self, line: bytes) -> int:
        """A match may end anywhere, so everything waits from the first place where one can begin, within reason."""
        places = [_begins_at(line, user.start) for user in self.users]
        place = min(places, default=len(line))
        return place if len(line) - place <= MAX_HELD else len(line) - USER_REACH


def _places(user: _User, line: bytes) -> Iterator[tuple[int, int]]:
    if user.exact is None:
        return (match.span() for match in user.regex.finditer(line))
    return _longest(user.exact, line)


def _longest(database: Any, line: bytes) -> Iterator[tuple[int, int]]:
    """Hyperscan tells every end of a match; of those with one beginning the last is the longest."""
    ends: dict[int, int] = {}

    def note(_: int, begin: int, end: int, *rest: object) -> None:
        ends[begin] = end

    database.scan(line, match_event_handler=note)
    return iter(ends.items())


_EXACT_FLAGS = hyperscan.HS_FLAG_SOM_LEFTMOST | hyperscan.HS_FLAG_ALLOWEMPTY
_USER_FLAGS = (
    hyperscan.HS_FLAG_PREFILTER
    | hyperscan.HS_FLAG_SINGLEMATCH
    | hyperscan.HS_FLAG_MULTILINE
    | hyperscan.HS_FLAG_ALLOWEMPTY
)


@lru_cache(maxsize=4)
def scanner(patterns: tuple[str, ...]) -> Scanner:
    return Scanner(patterns)


def _user(pattern: str) -> _User:
    try:
        regex = re.compile(pattern.encode())
    except re.error as error:
        raise MozartError(
            "E301", f"cannot use the mask pattern {pattern!r}: {error}", "see the setting mask_patterns", EXIT_USAGE
        ) from None
    exact = None if is_steady(pattern) else _exact(pattern)
    plain = re.match(rb"[A-Za-z0-9_-]*(?![*+?{])", regex.pattern)
    return _User(regex, exact, plain[0] if plain and b"|" not in regex.pattern else b"")


def _exact(pattern: str) -> Any:
    try:
        return _compile([pattern.encode()], [0], [_EXACT_FLAGS])
    except hyperscan.error:
        sentence = f"cannot use the mask pattern {pattern!r}: looking for it may take for ever on what an agent prints"
        hint = "bound its repetitions, as in [a-z]{1,60}, or leave out back-references and what it looks at around it"
        raise MozartError("E301", sentence, hint, EXIT_USAGE) from None


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
    if _is_secret(value):
        for line in {value, *map(str.strip, value.splitlines())}:
            yield from filter(_is_long, _written(line))
            yield from filter(_is_long, _in_base64(_bytes(line)))


def passwords(value: str) -> Iterator[str]:
    """Those of the addresses in a value: `postgres://user:password@host`."""
    for found in _PASSWORD.findall(value):
        yield found
        yield unquote(found)


def _is_secret(value: str) -> bool:
    return value.lower() not in _COMMON and not _PLACE.fullmatch(value)


def _is_long(text: bytes) -> bool:
    return len(text) >= SHORTEST_VALUE and len(set(text)) > 3


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _written(value: str) -> Iterator[bytes]:
    """As it is; in JSON, in JSON within JSON, with every way to escape a slash; in an address."""
    for ascii in (True, False):
        inner = json.dumps(value, ensure_ascii=ascii)[1:-1]
        for form in (value, inner, json.dumps(inner, ensure_ascii=ascii)[1:-1]):
            yield _bytes(form)
            yield _bytes(form.replace("/", "\\/"))
    for safe in ("", "/"):
        quoted = quote(_bytes(value), safe=safe)
        for form in (quoted, quoted.replace("%20", "+")):
            yield form.encode()
            yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), form).encode()


def _in_base64(value: bytes) -> Iterator[bytes]:
    """What of it always looks the same in base64, wherever in what was encoded it begins: `Basic` of user and password, too."""
    for before in range(3):
        whole = b64encode(bytes(before) + value)
        inner = whole[(before * 8 + 5) // 6 : (before + len(value)) * 8 // 6]
        yield inner
        yield inner.translate(_URL_SAFE)


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class Values:
    def __init__(self, literals: tuple[bytes, ...]) -> None:
        self.literals = literals
        self._longest = max(map(len, literals), default=0)
        numbers = [VALUES_FROM + n for n in range(len(literals))]
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
def values_scanner(literals: tuple[bytes, ...]) -> Values:
    return Values(literals)
