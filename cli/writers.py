"""What `logs` and `run` make of chunks: the bytes that people see, or NDJSON; and how each sheet's lines are marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cli import lines, output, text
from ipc.line import Line
from ipc.messages import Chunk, Gone

if TYPE_CHECKING:
    from backends.base import Renderer

PREFIX_COLOURS = (output.CYAN, output.YELLOW, output.GREEN, output.MAGENTA, output.BLUE, output.RED)


class TextWriter:
    """Chunks to the bytes that people see."""

    def __init__(self, text: lines.Text, sink: lines.Sink) -> None:
        self._text = text
        self._sink = sink

    def feed(self, chunk: Chunk) -> bytes:
        return b"".join(map(self._sink.put, self._text.feed(chunk)))

    def gone(self, gone: Gone) -> bytes:
        """What is to be shown before it is said that something is missing."""
        left = self._text.break_off(gone["sheet"], gone["attempt"])
        return b"".join(map(self._sink.put, left)) + self._sink.interrupt()

    def finish(self) -> bytes:
        return b"".join(map(self._sink.put, self._text.finish())) + self._sink.finish()

    def interrupt(self) -> bytes:
        """What must come before a line that is not the agents'."""
        return self._sink.interrupt()

    def open_lines(self) -> Iterator[tuple[lines.Key, bytes]]:
        return self._sink.open_lines()


class JsonWriter:
    """Chunks to NDJSON."""

    def __init__(self, selection: lines.Selection) -> None:
        self._selection = selection

    def feed(self, chunk: Chunk) -> bytes:
        import orjson  # loaded already: the answer came through it

        return b"".join(
            orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
            for record in lines.json_records(chunk, self._selection)
        )

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
