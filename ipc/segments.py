"""How one attempt's log is cut into files, and what their names say.

    <sheet>.<k>.log           the bytes from logical offset 0
    <sheet>.<k>.<start>.log   the bytes from <start>, which is where the segment before it ends
    ….log.gz                  the same bytes, compressed: nobody appends to them any more
    ….gone                    in place of the bytes: they are gone, up to an offset that it holds, and why
    <sheet>.<k>.prompt.whole  no part of the log: a prompt with its secrets, for as long as the agent may read it

So a log is a chain: each link's end is the next one's name, and nobody has to list a directory, or to be told anything, to
read on. Workers make segments (`workers.log`), the coordinator compresses and removes them (`mozartd.coordinator.shelf`),
always the oldest first, and reads them (`mozartd.coordinator.reading`). Pure: what is on disk is asked through `look`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: A writer begins a new segment when the present one has so many bytes, unless it is told otherwise.
SEGMENT_BYTES = 64 * 1024 * 1024

LOG, PACKED, GONE = ".log", ".log.gz", ".gone"
UNMASKED = ".prompt.whole"

_NAME = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})(?:\.([1-9][0-9]{0,18}))?(\.log|\.log\.gz|\.gone|\.prompt\.whole)")


class Name(NamedTuple):
    sheet: int
    k: int
    start: int
    kind: str
    """LOG, PACKED, GONE or UNMASKED."""


class Link(NamedTuple):
    """The bytes [start, end) of a log: there, or gone."""

    start: int
    end: int
    why: str = ""
    """Why they are gone; '' when they are there."""
    is_lost: bool = False
    """They should be there: neither the settings nor a person's `mozart gc` has removed them."""


#: What a log has from this offset on; None when no link begins there.
Look = Callable[[int], Link | None]


def path_of(log: str, start: int, kind: str = LOG) -> str:
    """The file of a log's link. `log` is the path of its first segment."""
    stem = log.removesuffix(LOG)
    return f"{stem}.{start}{kind}" if start else stem + kind


def parse_name(name: str) -> Name | None:
    """None for any other file."""
    found = _NAME.fullmatch(name)
    return Name(int(found[1]), int(found[2]), int(found[3] or 0), found[4]) if found else None


def links(look: Look) -> Iterator[Link]:
    """The chain from its beginning. An empty link is the last: its writer has only just begun it."""
    start = 0
    while (link := look(start)) is not None:
        yield link
        if link.end <= start:
            return
        start = link.end


def seek(look: Look, offset: int) -> Link | None:
    """The link that holds the byte at `offset`, or that begins there and is empty yet; None at the end and beyond it."""
    direct = look(offset)
    return direct or next((link for link in links(look) if link.start <= offset < link.end), None)


def end_of(look: Look) -> int:
    """Where the log ends now."""
    return max((link.end for link in links(look)), default=0)


def first_of(look: Look) -> int:
    """The first byte that is still there, or the end when nothing is."""
    return next((link.start for link in links(look) if not link.why), end_of(look))
