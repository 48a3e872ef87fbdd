"""The one way to a person's eyes: text from an agent, a score, a file's name or a service, without what acts on a terminal.

Colours may stay. What else moves the cursor, names the window, asks or fills the clipboard goes, and so does what nobody sees
or what turns the order of what is seen: bidirectional controls, characters without a width. `sentence` is for texts that are
whole, `cell` for what must stay on one line, `Stream` for output that comes in pieces. Used by everything that prints for
people; what scripts read (`--json`, `--raw`) does not come this way. Linear in what it is given, whatever that is.
"""

from __future__ import annotations

import codecs
import re
from functools import cache

#: Without a width, or turning the direction of what follows. The joiners are among them: what they join is shown side by side.
_UNSEEN = (
    "\x80-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
#: Whole sequences, their texts included; a text ends with its line, so that one without an end swallows no other lines.
_SEQUENCES = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[PX^_\]][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"


@cache
def _acting(ascii: bool) -> re.Pattern[str]:
    """Compiled when it is needed: what most verbs show is plain, and the longer one takes two milliseconds."""
    return re.compile(rf"{_SEQUENCES}|\r+\n?|[{_CONTROLS}{'' if ascii else _UNSEEN}]")


_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
#: What a colour's sequence may also ask for: that what follows is not to be seen.
_CONCEAL = re.compile(r"(?<![345]8;5)[\[;]0*8[;m]")
#: A sequence that may go on in the next piece.
_OPEN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[PX^_\]][^\x07\x1b\n]*|[ -/]*)?")
#: Of one that goes on for longer only its beginning is kept: enough to know what it is.
_OPEN_MOST, _OPEN_KEPT = 256, 3

#: Bytes that are no UTF-8 and that an old terminal obeys, as `surrogateescape` has them.
_EIGHT_BIT = re.compile("[\udc80-\udc9f]")

#: Bytes that are shown as they are when there is nothing else.
_PLAIN = bytes((9, 10, *range(32, 127)))


def sentence(text: str, colours: bool = False) -> str:
    """Text that is whole, of one line or several."""
    return text if _is_plain(text) else _without(text, colours, " ")


def cell(text: str, colours: bool = False) -> str:
    """Text that must not begin a line of its own: a name, a path, a cell of a table."""
    return sentence(text, colours).replace("\n", " ").replace("\t", " ")


def json_bytes(document: bytes) -> bytes:
    """The same JSON: what acts on a terminal, and stands in strings only, as escapes."""
    if not document.translate(None, _PLAIN):
        return document
    return _acting(document.isascii()).sub(_escape, document.decode()).encode()


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


def _is_plain(text: str) -> bool:
    return text.isascii() and not text.encode().translate(None, _PLAIN)


def _without(text: str, colours: bool, rewritten: str) -> str:
    def instead(found: re.Match[str]) -> str:
        what = found[0]
        if what[0] == "\r":
            return "\n" if what[-1] == "\n" else rewritten
        return what if colours and _COLOUR.fullmatch(what) and not _CONCEAL.search(what) else ""

    return _acting(text.isascii()).sub(instead, text)


class Stream:
    """One stream of output. What a piece leaves open, half a character or half a sequence, waits for the next: bounded.

    A carriage return begins a new line; `rewrites`: the present one anew, as far as it came in this piece. `bytes_stay`: for
    a file or a pipe, what is no text and does nothing (a NUL, a byte that is not UTF-8) stays what it is.
    """

    def __init__(self, colours: bool, rewrites: bool = False, bytes_stay: bool = False) -> None:
        self._colours = colours
        self._rewrites = rewrites
        self._bytes_stay = bytes_stay
        self._errors = "surrogateescape" if bytes_stay else "replace"
        self._decoder = codecs.getincrementaldecoder("utf-8")(self._errors)
        self._held = ""
        self.coloured = False
        """A colour was let through: it may still be in force."""

    def feed(self, data: bytes) -> bytes:
        if not self.is_open and not data.translate(None, _PLAIN):
            return data
        text = self._held + self._decoder.decode(data)
        settled = _open_from(text)
        self._held = text[settled:]
        if len(self._held) > _OPEN_MOST:
            self._held = self._held[:_OPEN_KEPT]
        return self._settled(text[:settled])

    @property
    def is_open(self) -> bool:
        """Something waits for the next piece."""
        return bool(self._held or self._decoder.getstate()[0])

    def finish(self) -> bytes:
        """The rest, of which nothing will come."""
        text = self._held + self._decoder.decode(b"", final=True)
        self._held = ""
        return self._settled(text)

    def _settled(self, text: str) -> bytes:
        if self._rewrites and "\r" in text:
            # One that waited ends what an earlier piece began.
            first = "\n" if text[0] == "\r" and not text.lstrip("\r").startswith("\n") else ""
            text = first + "\n".join(map(_last_state, text.split("\n")))
        if self._bytes_stay:
            kept = (_without(part, self._colours, "\n") for part in _EIGHT_BIT.sub("\ufffd", text).split("\0"))
            text = "\0".join(kept)
        else:
            text = _without(text, self._colours, "\n")
        self.coloured = self.coloured or "\x1b" in text
        return text.encode(errors=self._errors)


def _open_from(text: str) -> int:
    """From where on it may go on in a way that matters: a sequence without its end, or a carriage return."""
    begin = text.rfind("\x1b")
    if begin >= 0 and _OPEN.fullmatch(text, begin):
        return begin
    return len(text) if not text.endswith("\r") else len(text.rstrip("\r"))


def _last_state(line: str) -> str:
    """A line as it was after its last carriage return."""
    return line.rstrip("\r").rpartition("\r")[2]
