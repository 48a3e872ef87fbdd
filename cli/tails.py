"""Logs to stdout: one job's as they come, those of several jobs each line behind its job's id. Used by `logs`."""

from __future__ import annotations

import select
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple, cast

from cli import lines, output
from cli.daemon import connect
from cli.feed import Feed
from cli.writers import (
    JsonWriter,
    TextWriter,
    Writer,
    count_sheets,
    end_record,
    gone_sentence,
    job_prefix,
    no_renderer,
    renderer_of,
    sink_for,
)
from ipc.errors import EXIT_DONE, EXIT_FAILED, EXIT_UNREACHABLE, MozartError
from ipc.line import Line
from ipc.messages import Chunk, Gone


class How(NamedTuple):
    """What a person wants to see of each job."""

    selection: lines.Selection
    raw: bool
    timestamps: bool
    json: bool
    asked: dict[str, Any]
    """Of `logs.follow`, without the job."""

    @property
    def follow(self) -> bool:
        return bool(self.asked["follow"])


class Watched:
    """One job's log on its way to stdout."""

    def __init__(self, feed: Feed, writer: Writer, label: str, how: How) -> None:
        self.feed = feed
        self._writer = writer
        self._label = label
        self._how = how
        self._lost = False
        """Something was not there that should be."""
        self.exit_code = EXIT_DONE

    def show(self) -> None:
        """All of it."""
        for method, params in self.feed:
            self.take(method, params)

    def take(self, method: str, params: dict[str, Any]) -> None:
        if method == "logs.end":
            output.write(self._writer.finish())
            self.exit_code = (int(params["exit_code"]) if self._how.follow else EXIT_DONE) or int(self._lost)
            if self._how.json and self._how.follow:
                output.document(end_record(params))
        elif method == "logs.gone":
            self._lost = self._lost or params.get("lost", False)
            output.write(self._writer.gone(cast("Gone", params)))
            output.tell(f"mozart: {self._label}{gone_sentence(cast('Gone', params))}")
        else:
            for chunk in lines.behind(cast("Chunk", params), self.feed.begins):
                output.write(self._writer.feed(chunk))


def show(jobs: Sequence[str], how: How) -> int:
    """The exit code: of several jobs a failure speaks louder than a pause."""
    if len(jobs) == 1:
        watched = _begin(jobs[0], how, several=False)
        with watched.feed:
            watched.show()
        return watched.exit_code
    codes: list[int] = []
    with ExitStack() as stack:
        followed: list[Watched] = []
        for job in jobs:
            try:
                watched = _begin(job, how, several=True)
            except MozartError as error:
                codes.append(_refused(job, error, how))
                continue
            stack.enter_context(watched.feed)
            followed.append(watched)
            if not how.follow:
                watched.show()
        _follow({watched.feed: watched for watched in followed if how.follow})
        codes += [watched.exit_code for watched in followed]
    return EXIT_FAILED if EXIT_FAILED in codes else max(codes)


def _refused(job: str, error: MozartError, how: How) -> int:
    """It is said; the others are shown all the same."""
    if error.exit_code == EXIT_UNREACHABLE:
        raise error
    output.complain(error)
    if how.json:
        output.document({"job": job, "error": output.error_document(error)})
    return error.exit_code


def _follow(pending: dict[Feed, Watched]) -> None:
    """Each as it comes, to the end of the last. What a feed holds already `select` does not see."""
    while pending:
        held = {feed for feed in pending if feed.has_more()}
        ready = held.union(select.select([*pending], [], [], 0 if held else None)[0])
        for feed in ready:
            found = feed.next(0)
            if found is not None:
                pending[feed].take(*found)
            if feed.ended:
                del pending[feed]


def _begin(job: str, how: How, several: bool) -> Watched:
    line = connect()
    try:
        job, writer = _writer(line, job, how, several)
        if how.follow:
            # Hours from now another version may be installed, or none.
            import backends

            backends.preload()
        feed = Feed(line, {"logs.follow": {"job": job, **how.asked}})
    except BaseException:
        line.close()
        raise
    return Watched(feed, writer, f"{feed.job or job}: " if several else "", how)


def _writer(line: Line, job: str, how: How, several: bool) -> tuple[str, Writer]:
    """And the job's id, where it had to be asked for."""
    if how.json:
        return job, JsonWriter(how.selection)
    if how.raw:
        text = lines.Text(no_renderer, how.selection, how.timestamps)
        return job, TextWriter(text, lines.Plain(exact=True), raw=True)
    one_sheet = "sheet" in how.asked
    job, sheets = (job, 1) if one_sheet and not several else count_sheets(line, job)
    sink = lines.Prefixed(partial(job_prefix, job, sheets > 1)) if several else sink_for(sheets)
    return job, TextWriter(lines.Text(renderer_of, how.selection, how.timestamps), sink)
