"""From an attempt's log, chunk by chunk, to what a person reads: pure, and fast: twenty followers may share a core.

Two steps. `Text` takes the CRI records of one job's chunks and gives fragments of the agents' output: whole blocks at
once, with the records' heads removed by one substitution per chunk; a backend with a renderer has its lines joined and
rendered. A sink then lays the fragments of several attempts into one stream: `Plain` (one sheet, or raw: shown as they
come) or `Prefixed` (each line behind its sheet's number). `json_records` is the other way: every record as a document.

Lines of several streams never mix. `Plain` shows an unfinished line at once; if somebody else speaks before it ends, a
new line begins. `Prefixed` holds an unfinished line until it ends, HELD bytes of it at most: a longer one comes in
pieces, each behind the prefix, so that a line without end costs neither memory nor the other sheets' lines.

Never reads a socket or a clock; `cli.writers` drives it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ipc import cri
from ipc.messages import Chunk

if TYPE_CHECKING:
    from backends.base import Renderer

#: Of `2026-11-23T02:15:06.123456789Z` what is kept for scripts, to which all times have milliseconds.
MILLISECONDS = len("2026-11-23T02:15:06.123")
#: Bytes of one unfinished line that `Prefixed` holds.
HELD = 64 * 1024
#: Bytes of a line that a renderer is given, as the contract of `backends.base.Parser.feed` has it.
LINE_CAP = 4 * 1024 * 1024

# In a block that begins with the newline before its first record, a record's head is always preceded by one; and
# looking for a newline first is six times faster than looking for the beginning of a line.
_FULL_HEAD = re.compile(rb"\n[^ ]+ std(?:out|err) F ")
_TIMED_HEAD = re.compile(rb"\n([^ ]+ )std(?:out|err) F ")
_OF_STREAM = {name: re.compile(rb"\n[^ ]+ " + name.encode() + rb" [^\n]*") for name in ("stdout", "stderr")}
_PART_MARKS = (b" stdout P ", b" stderr P ")
_PART = re.compile(rb"\n[^ \n]+ std(?:out|err) P [^\n]*")
_OTHER = {"stdout": "stderr", "stderr": "stdout"}


class Key(NamedTuple):
    """Who speaks. `stream` tells apart only what could mix: empty for a renderer, which makes one text of both."""

    sheet: int
    attempt: int
    stream: str


class Fragment(NamedTuple):
    """Some output of one speaker, as bytes to show: part of a line, or many lines."""

    key: Key
    data: bytes


#: A fresh renderer for an attempt of this backend (with its profile, if it has one); None shows the bytes as they are.
Renderers = Callable[[str, Mapping[str, Any] | None], "Renderer | None"]


def content(chunk: Chunk) -> bytes:
    """The chunk's records."""
    return chunk["text"].encode() if "text" in chunk else b64decode(chunk["base64"])


class Selection(NamedTuple):
    """Which records are wanted."""

    stream: str | None = None
    since: bytes = b""
    """An RFC 3339 time as CRI writes it; times in UTC compare as bytes."""

    def take(self, records: bytes) -> bytes:
        if self.since:
            records = _from_time(records, self.since)
        if self.stream and records:
            unwanted = _OF_STREAM[_OTHER[self.stream]]
            kept = unwanted.sub(b"", b"\n" + records[:-1])
            records = kept[1:] + b"\n" if kept else b""
        return records


ALL = Selection()


def _from_time(records: bytes, since: bytes) -> bytes:
    """Without the records that were written before `since`: times only grow within a log."""
    last = records.rfind(b"\n", 0, -1) + 1
    if records[last : last + len(since)] < since:
        return b""
    start = 0
    while records[start : start + len(since)] < since:
        start = records.index(b"\n", start) + 1
    return records[start:]


def behind(chunk: Chunk, begins: Mapping[str, Mapping[str, int]]) -> Iterator[Chunk]:
    """The parts of a chunk that are wanted: of each stream what lies behind its beginning."""
    starts = begins.get(f"{chunk['sheet']}.{chunk['attempt']}")
    if starts is None or chunk["offset"] >= max(starts.values()):
        yield chunk
        return
    offset = start = chunk["offset"]
    records = content(chunk)
    for raw in records.split(b"\n")[:-1]:
        end = offset + len(raw) + 1
        if offset < starts[cri.read(raw).stream.decode()]:
            yield from _part(chunk, records, start, offset)
            start = end
        offset = end
    yield from _part(chunk, records, start, offset)


def _part(chunk: Chunk, records: bytes, start: int, end: int) -> Iterator[Chunk]:
    if start < end:
        part = chunk.copy()
        part.pop("text", None)
        part["offset"], part["end"] = start, end
        part["base64"] = b64encode(records[start - chunk["offset"] : end - chunk["offset"]]).decode()
        yield part


# ---- records → fragments --------------------------------------------------------------------------------------------


class Text:
    """Every attempt's records to fragments. Keeps what one chunk leaves open for the next: bounded, by LINE_CAP."""

    def __init__(self, renderers: Renderers, selection: Selection, timestamps: bool = False) -> None:
        self._renderers = renderers
        self._selection = selection
        self._timestamps = timestamps
        self._attempts: dict[tuple[int, int], _Bytes | _Rendered] = {}

    def feed(self, chunk: Chunk) -> Iterator[Fragment]:
        records = self._selection.take(content(chunk))
        if records:
            attempt = self._attempts.get((chunk["sheet"], chunk["attempt"]))
            if attempt is None:
                yield from self._finish_earlier(chunk["sheet"])
                attempt = self._begin(chunk)
            yield from attempt.feed(records)

    def finish(self) -> Iterator[Fragment]:
        """What the renderers still hold, when nothing more will come."""
        for attempt in self._attempts.values():
            yield from attempt.finish()
        self._attempts.clear()

    def break_off(self, sheet: int, attempt: int) -> Iterator[Fragment]:
        """What is held of an attempt whose next bytes are missing: what follows them does not belong to it."""
        if (sheet, attempt) in self._attempts:
            yield from self._attempts.pop((sheet, attempt)).finish()

    def _begin(self, chunk: Chunk) -> _Bytes | _Rendered:
        sheet, k = chunk["sheet"], chunk["attempt"]
        renderer = self._renderers(chunk["backend"], chunk.get("profile"))
        attempt: _Bytes | _Rendered
        if renderer is None:
            attempt = _Bytes(sheet, k, self._timestamps)
        else:
            attempt = _Rendered(Key(sheet, k, ""), renderer, self._timestamps)
        self._attempts[sheet, k] = attempt
        return attempt

    def _finish_earlier(self, sheet: int) -> Iterator[Fragment]:
        """A sheet's attempts come one after another."""
        for key in [key for key in self._attempts if key[0] == sheet]:
            yield from self._attempts.pop(key).finish()


class _Bytes:
    """An attempt whose bytes are shown as they are."""

    def __init__(self, sheet: int, k: int, timestamps: bool) -> None:
        self._keys = {name: Key(sheet, k, name) for name in ("stdout", "stderr")}
        self._timestamps = timestamps
        self._open: set[str] = set()
        """Streams whose last record was a P: their line goes on."""

    def feed(self, records: bytes) -> Iterator[Fragment]:
        block = b"\n" + records[:-1]
        start = 0
        for begin, end in _parts(block):
            yield from self._whole(block[start:begin])
            yield self._one(block[begin + 1 : end])
            start = end
        yield from self._whole(block[start:])

    def finish(self) -> Iterator[Fragment]:
        return iter(())

    def _whole(self, block: bytes) -> Iterator[Fragment]:
        """A block of F records, each behind its newline."""
        while block and self._open:
            # The last part of an open line belongs to its stream; the rest of the block does not care.
            first = min((match.start() for name in self._open if (match := _OF_STREAM[name].search(block))), default=-1)
            if first < 0:
                break
            if first:
                yield self._strip(block[:first])
            end = block.find(b"\n", first + 1) % (len(block) + 1)
            yield self._one(block[first + 1 : end])
            block = block[end:]
        if block:
            yield self._strip(block)

    def _strip(self, block: bytes) -> Fragment:
        stream = cri.read(block[1 : cri.MAX_RECORD - cri.MAX_CONTENT]).stream.decode()
        text = _TIMED_HEAD.sub(rb"\n\1", block) if self._timestamps else _FULL_HEAD.sub(b"\n", block)
        return Fragment(self._keys[stream], text[1:] + b"\n")

    def _one(self, record: bytes) -> Fragment:
        parsed = cri.read(record)
        stream = parsed.stream.decode()
        head = parsed.time + b" " if self._timestamps and stream not in self._open else b""
        if parsed.full:
            self._open.discard(stream)
        else:
            self._open.add(stream)
        return Fragment(self._keys[stream], head + parsed.content + (b"\n" if parsed.full else b""))


def _parts(block: bytes) -> Iterator[tuple[int, int]]:
    """Where the P records of a block lie: from their newline to the next record's. Rare, so looked for only where a mark is:
    it may be somebody's output that looks like one, which costs one walk over the block, however often it does."""
    if any(mark in block for mark in _PART_MARKS):
        for match in _PART.finditer(block):
            yield match.span()


class _Rendered:
    """An attempt whose lines a renderer makes readable."""

    def __init__(self, key: Key, renderer: Renderer, timestamps: bool) -> None:
        self._key = key
        self._renderer = renderer
        self._timestamps = timestamps
        self._held = {"stdout": bytearray(), "stderr": bytearray()}
        self._sizes = {"stdout": 0, "stderr": 0}
        """Of the lines that are held, with what is not held of them."""
        self._fresh = True
        """What comes next begins a line."""

    def feed(self, records: bytes) -> Iterator[Fragment]:
        shown = b"".join(filter(None, map(self._record, cri.records(records))))
        if shown:
            yield Fragment(self._key, shown)

    def finish(self) -> Iterator[Fragment]:
        text = "".join(self._line(stream) for stream, held in self._held.items() if held)
        text += self._renderer.finish()
        if text:
            yield Fragment(self._key, text.encode(errors="replace"))

    def _record(self, record: cri.Record) -> bytes:
        stream = record.stream.decode()
        held = self._held[stream]
        held += record.content[: LINE_CAP - len(held)]
        self._sizes[stream] += len(record.content)
        if not record.full:
            return b""
        text = self._line(stream).encode(errors="replace")
        return self._timed(record.time, text) if self._timestamps and text else text

    def _line(self, stream: str) -> str:
        """What is held of a line, rendered; of one that is longer than that, what can be shown, and that it is not all."""
        line, size = bytes(self._held[stream]), self._sizes[stream]
        self._held[stream].clear()
        self._sizes[stream] = 0
        if size <= len(line):
            return self._renderer.feed(stream, line)
        # The beginning of a JSON document means nothing to anybody.
        is_json = line.startswith((b"{", b"["))
        shown = self._renderer.finish() if is_json else self._renderer.feed(stream, line)
        return f"{shown}… a line of {size:,} bytes is too long to show; --raw prints it\n"

    def _timed(self, time: bytes, text: bytes) -> bytes:
        """The time of the record at the beginning of each line that it begins."""
        head = time + b" " if self._fresh else b""
        self._fresh = text.endswith(b"\n")
        body = text[:-1] if self._fresh else text
        return head + body.replace(b"\n", b"\n" + time + b" ") + (b"\n" if self._fresh else b"")


# ---- fragments → one stream -----------------------------------------------------------------------------------------


class Plain:
    """Fragments as they come. `exact`: nothing but the agents' bytes, not even a newline between two speakers."""

    def __init__(self, exact: bool = False) -> None:
        self._exact = exact
        self._open: Key | None = None

    def put(self, fragment: Fragment) -> bytes:
        key, data = fragment
        between = b"\n" if self._open not in (None, key) and not self._exact else b""
        self._open = None if data.endswith(b"\n") else key
        return between + data

    def interrupt(self) -> bytes:
        """The newline that the last line lacks, before somebody else writes."""
        missing = self._open is not None and not self._exact
        self._open = None
        return b"\n" if missing else b""

    def finish(self) -> bytes:
        return self.interrupt()

    def open_lines(self) -> Iterator[tuple[Key, bytes]]:
        """None: everything is shown at once."""
        return iter(())


class Prefixed:
    """Whole lines, each behind `prefix(sheet, attempt)`."""

    def __init__(self, prefix: Callable[[int, int], bytes]) -> None:
        self._prefix = prefix
        self._held: dict[Key, bytearray] = {}

    def put(self, fragment: Fragment) -> bytes:
        key, data = fragment
        end = data.rfind(b"\n") + 1
        if not end:
            return self._hold(key, data)
        lines = bytes(self._held.pop(key, b"")) + data[:end]
        return self._lines(key, lines) + self._hold(key, data[end:])

    def _hold(self, key: Key, rest: bytes) -> bytes:
        """Part of a line is added to what is held of it; what is too long to be held on is given back as lines."""
        if not rest:
            return b""
        held = self._held.setdefault(key, bytearray())
        held += rest
        return self._lines(key, bytes(self._held.pop(key)) + b"\n") if len(held) > HELD else b""

    def interrupt(self) -> bytes:
        """Nothing: what was written ends with a line's end."""
        return b""

    def open_lines(self) -> Iterator[tuple[Key, bytes]]:
        """What is held now, for those who show it while it grows."""
        for key, held in self._held.items():
            yield key, bytes(held)

    def finish(self) -> bytes:
        """The lines that never ended."""
        left = b"".join(self._lines(key, bytes(held) + b"\n") for key, held in self._held.items())
        self._held.clear()
        return left

    def _lines(self, key: Key, lines: bytes) -> bytes:
        prefix = self._prefix(key.sheet, key.attempt)
        return prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"


Sink = Plain | Prefixed

# ---- JSON -----------------------------------------------------------------------------------------------------------


def json_records(chunk: Chunk, selection: Selection) -> Iterator[dict[str, Any]]:
    """Every record of a chunk as cli.md has it. `base64` holds the bytes of a line that is not UTF-8."""
    offset = chunk["offset"]
    for raw in content(chunk).split(b"\n"):
        if raw and (selection == ALL or selection.take(raw + b"\n")):
            yield _json_record(chunk, offset, cri.read(raw))
        offset += len(raw) + 1


def _json_record(chunk: Chunk, offset: int, record: cri.Record) -> dict[str, Any]:
    found: dict[str, Any] = {
        "job": chunk["job"], "sheet": chunk["sheet"], "attempt": chunk["attempt"], "offset": offset,
        "time": f"{record.time[:MILLISECONDS].decode()}Z" if record.time else None, "stream": record.stream.decode(),
    }  # fmt: skip
    try:
        found["line"] = record.content.decode()
    except UnicodeDecodeError:
        found |= {"line": record.content.decode(errors="replace"), "base64": b64encode(record.content).decode()}
    if not record.full:
        found["partial"] = True
    return found
