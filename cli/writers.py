"""What `logs` and `run` make of chunks: the bytes that people see, or NDJSON; and how each sheet's lines are marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cli import lines, output, text
from ipc.line import Line
from ipc.messages import Chunk, Gone
from ipc.shown import Stream, json_bytes

if TYPE_CHECKING:
    from backends.base import Renderer

PREFIX_COLOURS = (output.CYAN, output.YELLOW, output.GREEN, output.MAGENTA, output.BLUE, output.RED)


class TextWriter:
    """Chunks to the bytes that people see. `raw`: exactly what the agents wrote; `rewrites`: see `ipc.shown.Stream`."""

    def __init__(self, text: lines.Text, sink: lines.Sink, raw: bool = False, rewrites: bool = False) -> None:
        self._text = text
        self._sink = sink
        self._raw = raw
        self._rewrites = rewrites
        self._streams: dict[lines.Key, Stream] = {}
        """Those that wait for the rest of a character or of a sequence."""
        self._coloured = False

    def feed(self, chunk: Chunk) -> bytes:
        return self._lay(self._text.feed(chunk))

    def gone(self, gone: Gone) -> bytes:
        """What is to be shown before it is said that something is missing."""
        left = self._lay(self._text.break_off(gone["sheet"], gone["attempt"]))
        return left + self._close(gone["sheet"], gone["attempt"]) + self.interrupt()

    def finish(self) -> bytes:
        left = self._lay(self._text.finish())
        for key in list(self._streams):
            left += self._close(key.sheet, key.attempt)
        return left + self._sink.finish() + self._reset()

    def interrupt(self) -> bytes:
        """What must come before a line that is not the agents'."""
        return self._sink.interrupt() + self._reset()

    def open_lines(self) -> Iterator[tuple[lines.Key, bytes]]:
        return self._sink.open_lines()

    def _lay(self, fragments: Iterator[lines.Fragment]) -> bytes:
        return b"".join(map(self._sink.put, fragments if self._raw else map(self._harmless, fragments)))

    def _harmless(self, fragment: lines.Fragment) -> lines.Fragment:
        key, data = fragment
        stream = self._streams.pop(key, None) or Stream(output.wants_colour(), self._rewrites, not output.is_terminal())
        found = stream.feed(data)
        self._coloured = self._coloured or stream.coloured
        if stream.is_open:
            self._streams[key] = stream
        return lines.Fragment(key, found)

    def _close(self, sheet: int, attempt: int) -> bytes:
        """What waits of an attempt's streams, of which no more will come."""
        over = [key for key in self._streams if key[:2] == (sheet, attempt)]
        left = ((key, self._streams.pop(key).finish()) for key in over)
        return b"".join(self._sink.put(lines.Fragment(key, data)) for key, data in left if data)

    def _reset(self) -> bytes:
        """The terminal's own colours, before something that is not the agents'."""
        coloured, self._coloured = self._coloured, False
        return b"\x1b[0m" if coloured else b""


class JsonWriter:
    """Chunks to NDJSON."""

    def __init__(self, selection: lines.Selection) -> None:
        self._selection = selection

    def feed(self, chunk: Chunk) -> bytes:
        import orjson  # loaded already: the answer came through it

        records = lines.json_records(chunk, self._selection)
        return json_bytes(b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records))

    def gone(self, gone: Gone) -> bytes:
        import orjson

        return orjson.dumps(gone_record(gone), option=orjson.OPT_APPEND_NEWLINE)

    def finish(self) -> bytes:
        return b""


Writer = TextWriter | JsonWriter


def prefix(sheet: int, attempt: int) -> bytes:
    """`[3] `, and `[3.2] ` from the second attempt on, in the sheet's colour."""
    label = f"[{sheet}]" if attempt == 1 else f"[{sheet}.{attempt}]"
    return f"{output.paint(label, PREFIX_COLOURS[sheet % len(PREFIX_COLOURS)])} ".encode()


def job_prefix(job: str, several: bool, sheet: int, attempt: int) -> bytes:
    """`[hello-12:3.2] `, for the logs of several jobs; `[hello-12] ` when it has one sheet."""
    which = f":{sheet}" if several else ""
    label = f"[{job}{which}{f'.{attempt}' if attempt > 1 else ''}]"
    return f"{output.paint(label, PREFIX_COLOURS[sum(job.encode()) % len(PREFIX_COLOURS)])} ".encode()


def no_prefix(_sheet: int, _attempt: int) -> bytes:
    return b""


def sink_for(sheets: int) -> lines.Sink:
    """Several sheets are told apart; one needs nothing."""
    return lines.Prefixed(prefix) if sheets > 1 else lines.Plain()


def no_renderer(_backend: str, _profile: Mapping[str, Any] | None) -> None:
    return None


def renderer_of(backend: str, profile: Mapping[str, Any] | None = None) -> Renderer | None:
    """A fresh renderer for an attempt; None when the backend's output is shown as it is."""
    import backends  # only those who follow an agent's log pay for its adapter

    try:
        found = backends.load(backend, profile)
    except ValueError:
        return None  # Of a score that the job no longer has, or of another version's.
    return found.renderer() if found.renders else None


def count_sheets(line: Line, job: str) -> tuple[str, int]:
    """The job's id and how many sheets it has, without the sheets themselves: a page behind the last of them."""
    found = line.request("status", {"job": job, "after": 1 << 31})["job"]
    return found["id"], sum(found["sheets"].values())


def gone_record(gone: Gone) -> dict[str, Any]:
    """In the place of records that are not there any more."""
    names = ("job", "sheet", "attempt", "offset", "end", "why")
    lost = {"lost": True} if gone.get("lost") else {}
    return {"type": "gone", **{name: gone[name] for name in names}, **lost}  # type: ignore[literal-required]


def gone_sentence(gone: Gone) -> str:
    """`sheet 3: 64 MiB of its log are gone (log_attempt_bytes)`, or `sheet 3's log is damaged from byte 17 to 4096`."""
    later = f" (attempt {gone['attempt']})" if gone["attempt"] > 1 else ""
    if gone.get("lost"):
        what = "missing" if gone["why"].startswith("missing") else "damaged"
        to = f" to {gone['end']}" if gone["end"] > gone["offset"] else ""
        return f"sheet {gone['sheet']}'s log{later} is {what} from byte {gone['offset']}{to}"
    which = f"sheet {gone['sheet']}" + (f", attempt {gone['attempt']}" if gone["attempt"] > 1 else "")
    size = gone["end"] - gone["offset"]
    return f"{which}: {text.size(size)} of its log ({size} bytes from {gone['offset']}) are gone: {gone['why']}"


def end_record(end: dict[str, Any]) -> dict[str, Any]:
    """The last record of a stream."""
    return {"type": "end", **{name: end[name] for name in ("job", "state", "reason", "exit_code")}}
