"""Private keys' blocks, the one secret that goes over lines: which parts of a text belong to them. Pure; for `workers.mask`.

A block goes on for as long as its lines look like a key's, so that the mere marker in a source file masks nothing else, and
for KEY_LINES at most, so that a block which never ends does not mask for ever.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from workers import formats
from workers.formats import KEY_LINE_MOST, KEY_LINES, KEY_REACH
from workers.spans import Span, line_end

_KEY_BEGIN = re.compile(formats.KEY_BEGIN)
_KEY_END = re.compile(formats.KEY_END)
_KEY_BODY = re.compile(formats.KEY_BODY)
_KEY_LINE = re.compile(formats.KEY_LINE)


def key_spans(block: bytes, begins: list[int], lines_left: int) -> tuple[list[Span], int]:
    """What belongs to private keys, and how many lines of an unfinished one may follow. `begins`: ends of first markers."""
    spans: list[Span] = []
    position, begins = 0, sorted(begins)
    while position < len(block):
        if lines_left:
            stop, lines_left = _key_line(block, position, lines_left)
            if stop > position:
                spans.append((position, stop, b"private-key"))
            # Behind an end marker the same line goes on, outside.
            position = line_end(block, stop) + 1 if lines_left else stop
            continue
        following = bisect_left(begins, position + 1)
        if following == len(begins):
            break
        start = max(block.rfind(b"\n", 0, begins[following]) + 1, position)
        end = line_end(block, start)
        found, goes_on = _key_first_line(block, start, end)
        spans += found
        position, lines_left = end + 1, KEY_LINES if goes_on else 0
    return spans, lines_left


def _key_first_line(block: bytes, start: int, end: int) -> tuple[list[Span], bool]:
    """The blocks that begin on a line, and whether the last of them goes on behind it."""
    ends = [match.span() for match in _KEY_END.finditer(block, start, end)]
    spans: list[Span] = []
    goes_on = False
    for begin in _KEY_BEGIN.finditer(block, start, end):
        place = bisect_left(ends, (begin.end(), 0))
        closed = place < len(ends) and ends[place][0] - begin.end() <= KEY_REACH
        if closed:
            stop = ends[place][1]
        else:
            body = _KEY_BODY.match(block, begin.end(), end)
            stop = body.end() if body else begin.end()
        spans.append((begin.start(), stop, b"private-key"))
        goes_on = not closed and stop == _without_return(block, stop, end)
    return spans, goes_on


def _key_line(block: bytes, start: int, lines_left: int) -> tuple[int, int]:
    """To where a line belongs to the block begun before it, and how many lines may follow then."""
    end = line_end(block, start)
    last = _KEY_END.search(block, start, min(end, start + KEY_LINE_MOST))
    if last:
        return last.end(), 0
    bare = _without_return(block, start, end)
    if bare - start < KEY_LINE_MOST and _KEY_LINE.fullmatch(block, start, bare):
        return bare, lines_left - 1
    return start, 0


def _without_return(block: bytes, start: int, end: int) -> int:
    return end - 1 if end > start and block[end - 1] == 0x0D else end
