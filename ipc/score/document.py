"""YAML text into plain values, remembering where each key was written.

Bounded whatever the text does: size, nodes (aliases counted as often as they are used) and depth. Duplicate keys are errors,
and so are tags, several documents and anything but a map at the top. Plain scalars mean what YAML 1.1 says, as in old scores,
except dates, which stay text. It knows nothing of a score's fields; `load` calls it.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from ipc import files
from ipc.score.anchor import absolute
from ipc.score.problems import ERROR, WARNING, Field, Problem, ScoreError, dotted, shown

#: Bytes of a score, and of a file that it names, at most: a submission carries them twice in one 16 MiB frame.
MAX_BYTES = 4 * 1024 * 1024
#: Keys, values, lists and maps in it, at most; what an alias repeats counts again.
MAX_NODES = 1_000_000
#: Levels of nesting, at most.
MAX_DEPTH = 64

#: Characters of a number, at most: to work out `1:1:1:…` takes the square of its length.
LONGEST_NUMBER = 400
#: Values of two readings that are told, at most.
MAX_DOUBTS = 20

#: A place is one number, because there are many: the line from 0, then the column in this many bits.
_COLUMN_BITS = 20
_LAST_COLUMN = (1 << _COLUMN_BITS) - 1

_PREFIX = "tag:yaml.org,2002:"
_CONTAINER_TAGS = (None, "!", _PREFIX + "map", _PREFIX + "seq")
_SMALL_INT = re.compile(r"(0|[1-9][0-9]{0,17})\Z")
#: What both YAMLs take for the same number, and what only the newer one takes for one.
_SAME_NUMBER = re.compile(
    r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+][0-9]+)?\Z|[-+]?\.[0-9]+\Z|0x[0-9a-fA-F]+\Z|[-+]?0\.[0-9]*\Z"
)
_NEWER_NUMBER = re.compile(r"0o[0-7]+\Z|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_CONSTRUCTOR = SafeConstructor()
_CONSTRUCT: dict[str, Callable[[Any], Any]] = {
    _PREFIX + "int": _CONSTRUCTOR.construct_yaml_int,
    _PREFIX + "float": _CONSTRUCTOR.construct_yaml_float,
    _PREFIX + "bool": _CONSTRUCTOR.construct_yaml_bool,
    _PREFIX + "null": _CONSTRUCTOR.construct_yaml_null,
    _PREFIX + "str": _CONSTRUCTOR.construct_yaml_str,
}
_NUMBERS = (_PREFIX + "int", _PREFIX + "float")
#: What the library says, what it means, and what helps.
_SYNTAX = (
    (
        "cannot start any token",
        "a value cannot begin with this character",
        "indent with spaces, and quote values that begin with @, %, ` or a tab",
    ),
    (
        "mapping values are not allowed",
        "a value contains ': ' without quotes, or the indentation is wrong",
        "quote values that contain ': ', and check the indentation",
    ),
    (
        "did not find expected key",
        "a key is expected here",
        "check the indentation of this line and the one before, and the quotes",
    ),
    (
        "expected <block end>",
        "the indentation does not match the lines before",
        "check the indentation of this line and the one before",
    ),
    (
        "did not find expected ',' or ']'",
        "a list that begins with [ is not closed",
        "close it with ], or quote the entry that has a bracket, comma or quote in it",
    ),
    (
        "did not find expected ',' or '}'",
        "a map that begins with { is not closed",
        "close it with }, or quote the value that has a brace, comma or quote in it",
    ),
    (
        "unknown escape",
        "unknown escape in a double-quoted string",
        "in double quotes \\ begins an escape: write it in single quotes, as in '\\d+'",
    ),
    ("unexpected end of stream", "a quote or bracket is never closed", "close it"),
)
_ANY_HINT = "check the quotes, brackets and indentation here and on the line before"


@dataclass
class Document:
    """A file's values, and the place of each key."""

    path: str
    source: str
    data: dict[Any, Any]
    #: id of a container → key → its place. Containers live as long as `data`.
    marks: dict[int, Any] = field(default_factory=dict)
    #: (id of a container, key) → line from 0 on which the text of a literal block (`|`) begins.
    blocks: dict[tuple[int, Any], int] = field(default_factory=dict)
    #: (id of a container, key) → a plain value's text, where the value says something else: `010`, `no`.
    texts: dict[tuple[int, Any], str] = field(default_factory=dict)
    #: What YAML 1.2 reads as something else than YAML 1.1: the place, the text, the value.
    doubts: list[tuple[int, str, Any]] = field(default_factory=list)
    #: Fields that came from the command line instead.
    overridden: set[Field] = field(default_factory=set)
    #: Containers that `own` replaced: while they live, nothing else gets their id.
    _replaced: list[Any] = field(default_factory=list, repr=False)

    def position(self, path: Field) -> tuple[int | None, int | None]:
        """Line and column, from 1, of the deepest part of `path` that was written; None for what the command line set."""
        if any(path[: len(known)] == known for known in self.overridden):
            return None, None
        place = 0
        for container, key in self._walk(path):
            place = self._mark(container, key, place)
        return (place >> _COLUMN_BITS) + 1, (place & _LAST_COLUMN) + 1

    def own(self, container: Any, key: Any) -> Any:
        """The container at `key`, no longer shared with other places that an alias put it to, so that it may be changed."""
        old = container[key]
        new = container[key] = old.copy()
        self.marks[id(new)] = self.marks.get(id(old), {})
        self.blocks |= {(id(new), name): line for (owner, name), line in self.blocks.items() if owner == id(old)}
        self._replaced.append(old)
        return new

    def text_at(self, path: Field) -> str | None:
        """How the plain value at `path` is written, where that is not how it reads."""
        steps = list(self._walk(path))
        return self.texts.get((id(steps[-1][0]), steps[-1][1])) if len(steps) == len(path) and steps else None

    def two_readings(self) -> Iterator[Problem]:
        """A warning for each value that another YAML would read otherwise."""
        for place, text, value in self.doubts[:MAX_DOUBTS]:
            line, column = (place >> _COLUMN_BITS) + 1, (place & _LAST_COLUMN) + 1
            read = f"text {text!r}" if isinstance(value, str) else shown(value)
            message = f"{text} means {read} in YAML 1.1, and something else in YAML 1.2"
            hint = f'write "{text}" for the text' + ("" if isinstance(value, str) else f", or {shown(value)}")
            yield Problem("V224", WARNING, message, hint, self.path, line, column)

    def block_line(self, path: Field) -> int | None:
        """The line, from 1, on which the literal block at `path` begins."""
        steps = list(self._walk(path))
        if len(steps) != len(path) or not steps:
            return None
        line = self.blocks.get((id(steps[-1][0]), steps[-1][1]))
        return None if line is None else line + 1

    def problem(self, code: str, severity: str, field: Field, message: str, hint: str = "") -> Problem:
        line, column = self.position(field)
        return Problem(code, severity, message, hint, self.path, line, column, dotted(field))

    def _mark(self, container: Any, key: Any, otherwise: int) -> int:
        marks = self.marks.get(id(container), ())
        known = key in marks if isinstance(marks, dict) else key < len(marks)
        return int(marks[key]) if known else otherwise

    def _walk(self, path: Field) -> Iterator[tuple[Any, Any]]:
        here: Any = self.data
        for part in path:
            key = find_key(here, part)
            if key is None:
                return
            yield here, key
            here = here[key]


def find_key(container: Any, part: Any) -> Any:
    """The key that `part` means in `container` ("2" and 2 are the same); None when there is none."""
    if isinstance(container, list):
        index = int(part) if str(part).isdecimal() else -1
        return index if 0 <= index < len(container) else None
    if not isinstance(container, dict):
        return None
    if part in container:
        return part
    other = str(part) if isinstance(part, int) else int(part) if str(part).isdecimal() else None
    return other if other in container else None


def read_document(path: str, may_be_pipe: bool = False) -> Document:
    """Raises ScoreError, `unreadable`, naming the place and what to do. A person may name a pipe, as in
    `mozart run <(make-score)`."""
    source = _decode(path, _read(path, may_be_pipe))
    return parse_document(source, path)


def parse_document(source: str, path: str) -> Document:
    data, builder = _build(_whole_characters(source), path)
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds {_kind(data)}, not a score"
        hint = "a score is a map with at least `name`, `sheet` and `prompt`"
        raise _unreadable(path, "E304", f"the file {what}", hint, 0, 0)
    return Document(path, source, data, builder.marks, builder.blocks, builder.texts, builder.doubts)


def parse_value(text: str, path: str, strict: bool = False) -> Any:
    """One value typed on the command line; `strict`: no number that could be read as another one."""
    value, builder = _build(text, path)
    numbers = [found for _, _, found in builder.doubts if not isinstance(found, bool)]
    if strict and numbers:
        message = f"{text[:40]} could be {shown(numbers[0])} or something else"
        raise _unreadable(path, "E304", message, f"quote it to have the text: '\"{text[:40]}\"'")
    return value


def _build(source: str, path: str) -> tuple[Any, _Builder]:
    builder = _Builder(path)
    try:
        for event in iter(yaml.CSafeLoader(source).get_event, None):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, error, source) from None
    except yaml.reader.ReaderError as error:
        line, column = _place(source, error.position)
        raise _unreadable(path, "E304", f"not text: {error.reason}", "save it as UTF-8 YAML", line, column) from None
    except (RecursionError, yaml.YAMLError) as error:
        raise _unreadable(path, "E304", f"not YAML: {error}", _ANY_HINT, 0, 0) from None
    return builder.root, builder


# ---- the file -------------------------------------------------------------------------------------------------------


#: What a shell calls a pipe that it made for `<(…)`.
_PASSED_ON = re.compile(r"/dev/fd/\d+|/proc/self/fd/\d+|/dev/stdin")
STDIN = "-"


def location_of(path: str) -> str:
    """The absolute path beside which a score's relative ones lie: of one that is read from a pipe, the caller's directory."""
    return absolute(STDIN if _PASSED_ON.fullmatch(path) else path)


def _read(path: str, may_be_pipe: bool) -> bytes:
    if path == STDIN and may_be_pipe:
        return _checked(path, _read_stdin(path))
    try:
        with files.hold(path) as held:
            data = _read_held(path, held, may_be_pipe)
    except FileNotFoundError:
        raise _unreadable(
            path, "E303", "the file does not exist", "check the path; scores usually end in .yaml"
        ) from None
    except OSError as error:
        raise _unreadable(path, "E303", f"cannot be read: {error.strerror}", "check its permissions") from None
    except ValueError as error:
        raise _unreadable(path, "E303", f"cannot be opened: {error}", "check the path") from None
    return _checked(path, data)


def _checked(path: str, data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES >> 20} MiB"
        raise _unreadable(path, "E304", message, "keep long prompts in files and use prompt.template_file")
    return data


def _read_stdin(path: str) -> bytes:
    try:
        with open(0, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, "E303", f"stdin cannot be read: {error.strerror}", "name the score's file") from None


def _read_held(path: str, held: int, may_be_pipe: bool) -> bytes:
    try:
        if may_be_pipe and stat.S_ISFIFO(os.fstat(held).st_mode):
            # A pipe without a writer ends at once.
            descriptor = os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            os.set_blocking(descriptor, True)
        else:
            descriptor = files.reopen(held)
    except files.NotRegularError as error:
        hint = "name the score's file inside it" if str(error) == "it is a directory" else "name a regular file"
        raise _unreadable(path, "E303", f"cannot be read: {error}", hint) from None
    with open(descriptor, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _decode(path: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start)
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1)
        message = f"not UTF-8 text: byte 0x{data[error.start]:02x}"
        raise _unreadable(path, "E304", message, "save the score as UTF-8 YAML", line, column) from None
    if "\0" in text:
        line, column = _place(text, text.index("\0"))
        raise _unreadable(path, "E304", "not text: it holds NUL bytes", "save the score as UTF-8 YAML", line, column)
    return text


def _place(text: str, position: int) -> tuple[int, int]:
    start = text.rfind("\n", 0, position) + 1
    return text.count("\n", 0, position), position - start


def _unreadable(
    path: str, code: str, message: str, hint: str, line: int | None = None, column: int | None = None
) -> ScoreError:
    place = (None, None) if line is None or column is None else (line + 1, column + 1)
    return ScoreError(path, [Problem(code, ERROR, message, hint, path, *place)], unreadable=True)


def _syntax_error(path: str, error: yaml.MarkedYAMLError, source: str) -> ScoreError:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "syntax error"
    said, hint = next(((said, hint) for text, said, hint in _SYNTAX if text in problem), ("", _ANY_HINT))
    place = (mark.line, mark.column) if mark else (0, 0)
    if mark and ("cannot start any token" in problem or "tab" in problem) and _has_tab(source, mark.line):
        message = f"line {mark.line + 1} is indented with a tab"
        return _unreadable(path, "E304", message, "use spaces", *place)
    if said:
        begun = error.context_mark.line + 1 if error.context_mark and "closed" in said else 0
        return _unreadable(path, "E304", f"{said} (begun on line {begun})" if begun else said, hint, *place)
    context = f" {error.context}" if error.context else ""
    return _unreadable(path, "E304", f"not YAML:{context} {problem}".replace("  ", " "), hint, *place)


def _has_tab(source: str, line: int) -> bool:
    lines = source.splitlines()
    return line < len(lines) and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]


def _whole_characters(source: str) -> str:
    """JSON writes some characters as two halves, which YAML does not know."""
    return _HALVES.sub(lambda found: f"\\U{ord(json.loads(chr(34) + found[0] + chr(34))):08x}", source)


_HALVES = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "text" if isinstance(value, str) else "a single value"


# ---- events into values ---------------------------------------------------------------------------------------------

#: The place of a map's value when its key has not come yet.
_NO_KEY = object()
#: A `<<` key: its value is merged when the map ends.
_MERGE = object()


class _Frame:
    """A list or map that has not ended yet."""

    __slots__ = ("container", "is_map", "key", "marks", "merges", "nodes")

    def __init__(self, container: Any, nodes: int) -> None:
        self.container = container
        self.is_map = isinstance(container, dict)
        #: Place of each key of a map, of each item of a list.
        self.marks: Any = {} if self.is_map else []
        self.key: Any = _NO_KEY
        self.merges: list[tuple[Any, Any]] = []
        self.nodes = nodes


def _place_of(event: Any) -> int:
    mark = event.start_mark
    return int(mark.line << _COLUMN_BITS | min(mark.column, _LAST_COLUMN))


class _Builder:
    """Eats the parser's events; `root` is the value. A stack of frames, so that depth costs no recursion."""

    def __init__(self, path: str) -> None:
        self.root: Any = None
        self.marks: dict[int, Any] = {}
        self.blocks: dict[tuple[int, Any], int] = {}
        self.texts: dict[tuple[int, Any], str] = {}
        self.doubts: list[tuple[int, str, Any]] = []
        self._path = path
        self._frame: _Frame | None = None
        self._outer: list[_Frame | None] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._open: dict[int, str] = {}
        self._nodes = 0
        self._documents = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }

    def feed(self, event: Any) -> None:
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._refuse(event, "a second document begins here", "keep one score per file, without `---` inside")

    def _scalar(self, event: Any) -> None:
        self._count(event, 1)
        frame = self._frame
        if frame is not None and frame.key is _NO_KEY and frame.is_map:
            self._take_key(frame, event)
            return
        value = self._value(event)
        if not event.style and event.tag is None and not _SMALL_INT.match(event.value):
            self._look_twice(event, value)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        if event.style == "|" and frame is not None and frame.is_map:
            self.blocks[id(frame.container), frame.key] = event.start_mark.line + 1
        self._put(value, event)

    def _look_twice(self, event: Any, value: Any) -> None:
        frame = self._frame
        if frame is not None and frame.is_map and not isinstance(value, str) and value is not None:
            self.texts[id(frame.container), frame.key] = event.value
        if _has_two_readings(event.value, value):
            self.doubts.append((_place_of(event), event.value[:40], value))

    def _start(self, event: Any) -> None:
        self._count(event, 1)
        if len(self._outer) >= MAX_DEPTH:
            raise self._refuse(event, f"more than {MAX_DEPTH} levels deep", "use fewer levels")
        if event.tag not in _CONTAINER_TAGS:
            raise self._refuse(event, f"the tag {_short(event.tag)} is not allowed", "remove it")
        frame = self._frame
        if frame is not None and frame.key is _NO_KEY and frame.is_map:
            hint = 'quote values that begin with { or [, such as "{{ workspace }}/file"'
            raise self._refuse(event, "a key is a map or list", hint)
        container: Any = {} if type(event) is yaml.MappingStartEvent else []
        self._put(container, event)
        if event.anchor:
            self._anchors[event.anchor] = (container, -1)
            self._open[id(container)] = event.anchor
        self._outer.append(frame)
        self._frame = started = _Frame(container, self._nodes)
        self.marks[id(container)] = started.marks

    def _end(self, event: Any) -> None:
        frame = self._frame
        assert frame is not None
        self._frame = self._outer.pop()
        for merged in self._merged_maps(frame) if frame.merges else ():
            for key, value in merged.items():
                frame.container.setdefault(key, value)
        anchor = self._open.pop(id(frame.container), None) if self._open else None
        if anchor is not None:
            self._anchors[anchor] = (frame.container, self._nodes - frame.nodes + 1)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise self._refuse(event, f"the alias *{event.anchor} has no anchor", "quote values that begin with *")
        value, nodes = self._anchors[event.anchor]
        if nodes < 0:
            raise self._refuse(event, f"the alias *{event.anchor} stands inside its own anchor", "")
        self._count(event, nodes)
        frame = self._frame
        if frame is not None and frame.key is _NO_KEY and frame.is_map:
            raise self._refuse(event, "an alias as a key", "write the key out")
        self._put(value, event)

    def _take_key(self, frame: _Frame, event: Any) -> None:
        if event.value == "<<" and not event.style:
            frame.key = _MERGE
            return
        key = self._value(event)
        if type(key) is not int and type(key) is not str:
            key = event.value  # `on:` and `1.5:` are words here
        if key in frame.marks:
            message = f"duplicate key {key!r} (first on line {(frame.marks[key] >> _COLUMN_BITS) + 1})"
            raise self._refuse(event, message, "remove one of them")
        frame.marks[key] = _place_of(event)
        frame.key = key

    def _put(self, value: Any, event: Any) -> None:
        frame = self._frame
        if frame is None:
            self.root = value
        elif not frame.is_map:
            frame.marks.append(_place_of(event))
            frame.container.append(value)
        else:
            if frame.key is _MERGE:
                frame.merges.append((value, event))
            else:
                frame.container[frame.key] = value
            frame.key = _NO_KEY

    def _merged_maps(self, frame: _Frame) -> Iterator[dict[Any, Any]]:
        for value, event in frame.merges:
            maps = value if isinstance(value, list) else [value]
            if not all(isinstance(merged, dict) for merged in maps):
                raise self._refuse(event, "`<<` takes a map or a list of maps", "use an alias: `<<: *name`")
            yield from maps

    def _value(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is None and event.style:
            return text
        tag = event.tag
        if tag is None and _SMALL_INT.match(text):
            return int(text)
        if tag in (None, "!"):
            tag = _resolve(text) if tag is None else _PREFIX + "str"
        if len(text) > LONGEST_NUMBER and tag in _NUMBERS:
            raise self._refuse(event, f"the number {text[:40]} is out of range", "quote it to keep it as text")
        construct = _CONSTRUCT.get(tag)
        if construct is None:
            raise self._refuse(event, f"the tag {_short(tag)} is not allowed", "remove it")
        try:
            value = construct(yaml.ScalarNode(tag, text))
        except (ValueError, KeyError, yaml.YAMLError):
            raise self._refuse(
                event, f"{text[:40]!r} is not a value of its tag", "remove the tag or quote it"
            ) from None
        if _cannot_travel(value):
            raise self._refuse(event, f"the number {text[:40]} is out of range", "quote it to keep it as text")
        return value

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            message = f"more than {MAX_NODES:,} values, counting what aliases repeat"
            raise self._refuse(event, message, "use fewer aliases, or fewer entries")

    def _refuse(self, event: Any, message: str, hint: str) -> ScoreError:
        mark = event.start_mark
        return _unreadable(self._path, "E304", message, hint, mark.line, mark.column)


def _resolve(text: str) -> str:
    """The tag of a plain scalar by YAML 1.1's rules, dates left as text."""
    for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text) and tag in _CONSTRUCT:
            return str(tag)
    return _PREFIX + "str"


def _has_two_readings(text: str, value: Any) -> bool:
    if isinstance(value, bool):
        return text.lower() not in ("true", "false")
    if isinstance(value, int | float):
        return not _SAME_NUMBER.match(text) and text.lower() not in (".inf", "-.inf", "+.inf", ".nan")
    return isinstance(value, str) and len(text) < 40 and bool(_NEWER_NUMBER.match(text))


def _short(tag: str) -> str:
    return tag.replace(_PREFIX, "!!")


def _cannot_travel(value: Any) -> bool:
    """Whether JSON between the processes could not carry it: beyond 64 bits, infinite, not a number."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def is_deeper(value: Any, levels: int) -> bool:
    """Of data that did not come through here, from a client say. No recursion: that is what it is asked for."""
    here = [value]
    for _ in range(levels + 1):
        inner: list[Any] = []
        for each in here:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        here = [each for each in inner if isinstance(each, dict | list)]
        if not here:
            return False
    return True
