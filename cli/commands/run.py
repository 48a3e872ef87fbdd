"""`mozart run`: check a score, hand it to the daemon, watch it to its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

from cli import output
from cli.arguments import Argument, Option
from cli.daemon import connect, connect_or_start
from cli.durations import moment_of
from cli.options import Json
from ipc.errors import EXIT_INTERRUPTED, EXIT_USAGE, MozartError
from ipc.line import Line

if TYPE_CHECKING:
    from cli.attached import View
    from ipc.score.load import LoadedScore

EXAMPLE = "mozart run examples/hello.yaml\nmozart run review.yaml --var branch=main --detach"


def command(
    score: Annotated[str, Argument(metavar="SCORE", help="The score's file.")],
    detach: Annotated[bool, Option("--detach", "-d", help="Do not wait: print the job's id.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Show the plan, run nothing (= mozart plan).")] = False,
    workspace: Annotated[str | None, Option("--workspace", metavar="P", help="Instead of the score's.")] = None,
    var: Annotated[list[str] | None, Option("--var", metavar="K=V", help="A template variable; repeat.")] = None,
    sets: Annotated[list[str] | None, Option("--set", metavar="F=V", help="A field of the score; repeat.")] = None,
    fresh: Annotated[
        bool, Option("--fresh", help="First archive what is there, if the score says archive_on_fresh.")
    ] = False,
    no_start: Annotated[bool, Option("--no-start", help="Refuse when no daemon runs.")] = False,
    start_sheet: Annotated[int | None, Option("--start-sheet", metavar="N", min=1, help="Skip those before.")] = None,
    at: Annotated[str | None, Option("--at", metavar="T", help="Begin at 22:30, 2026-11-24T06:00 or +2h.")] = None,
    after: Annotated[str | None, Option("--after", metavar="JOB", help="Begin when that job has completed.")] = None,
    group: Annotated[str | None, Option("--group", metavar="NAME", help="Share this group's limit.")] = None,
    self_healing: Annotated[bool, Option("--self-healing", hidden=True)] = False,
    escalation: Annotated[bool, Option("--escalation", hidden=True)] = False,
    json: Json = False,
) -> int:
    """Run a score and watch it to its end.

    Lines come live, and on a terminal a panel says what runs and what waits. Starts a daemon if none runs. Ctrl-C stops
    watching, never the job. The exit code is the job's: 0 completed, 1 failed, 3 cancelled or paused.
    """
    for name, wanted in (("--self-healing", self_healing), ("--escalation", escalation)):
        if wanted:
            raise MozartError("usage", f"cannot use {name}: it is not available yet", "run without it", EXIT_USAGE)
    if dry_run:
        return _dry_run(score, workspace, var, sets, json)
    begin = moment_of("--at", at, time.time()) if at else None
    loaded = load(score, pairs("--var", var), pairs("--set", sets), workspace)
    line, started = connect_or_start(may_start=not no_start)
    if started is not None:
        output.tell(f"mozart: started the daemon (pid {started})")
    more = {"fresh": fresh, "start_sheet": start_sheet, "at": begin, "after": after, "group": group}
    given = {name: value for name, value in more.items() if value is not None}
    with line:
        submitted = submission(loaded, os.environ, line.client.daemon["submit_env"])
        job = line.request("submit", {**submitted, **given})["job"]
    if detach:
        return _detached(job, json)
    return attach(job, json)


def pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """`K=V` each."""
    found = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not (name and equals):
            hint = f"write {option} NAME=VALUE"
            raise MozartError("usage", f"cannot understand {option} {pair}: it has no name and value", hint, EXIT_USAGE)
        found[name] = value
    return found


def submission(loaded: LoadedScore, env: Mapping[str, str], names: list[str]) -> dict[str, Any]:
    """`names`: what the daemon keeps of the submitter's environment, as its hello says."""
    environment = {name: value for name, value in env.items() if any(fnmatchcase(name, known) for known in names)}
    return {
        "score": loaded.score.model_dump(mode="json"), "path": str(loaded.path), "source": loaded.source,
        "environment": environment,
    }  # fmt: skip


def _dry_run(score: str, workspace: str | None, var: list[str] | None, sets: list[str] | None, json: bool) -> int:
    from cli.commands import plan

    return plan.command(score=score, workspace=workspace, var=var, sets=sets, json=json)


def load(score: str, variables: dict[str, str], sets: dict[str, str], workspace: str | None) -> LoadedScore:
    """The score, checked: errors refuse it, warnings go to stderr."""
    from cli.profiles import profile_faults  # all of them with pydantic, yaml, jinja2: only some verbs pay for that
    from ipc.score.check import check
    from ipc.score.load import load_score
    from ipc.score.problems import ScoreError, errors_of
    from ipc.score.unavailable import unavailable

    loaded = load_score(score, variables, sets, workspace)
    problems = [*loaded.problems, *check(loaded), *profile_faults(loaded)]
    errors = errors_of(problems)
    if errors:
        raise ScoreError(score, errors)
    missing = unavailable(loaded.score)
    if missing:
        names = ", ".join(missing)
        message = f"cannot run {score}: {names} {'is' if len(missing) == 1 else 'are'} not available yet"
        raise MozartError("E301", message, "take it out of the score; `mozart plan` still shows its plan", EXIT_USAGE)
    for problem in problems:
        if problem.severity == "warning":
            output.tell(str(problem))
    return loaded


def _detached(job: str, json: bool) -> int:
    if json:
        output.document({"job": job})
    else:
        output.tell(f"follow it with `mozart logs -f {job}`")
        output.say(job)
    return 0


def attach(job: str, json: bool) -> int:
    """Watch the job to its end; Ctrl-C leaves it running."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        code = _watch(connect(), job, json)
    except KeyboardInterrupt:
        output.tell(f"\nmozart: detached; {job} goes on")
        output.tell(f"come back with `mozart logs -f {job}`, stop it with `mozart cancel {job}`")
        return EXIT_INTERRUPTED
    if not json:
        _say_how_it_ended(job)
    return code


def _leave(number: int, _frame: object) -> None:
    """An exception, so that the terminal gets its cursor back."""
    sys.exit(128 + number)


def _watch(line: Line, job: str, json: bool) -> int:
    from cli.attached import watch  # what only those who stay need
    from cli.feed import Feed
    from cli.writers import count_sheets

    _load_what_the_end_needs()
    _, sheets = count_sheets(line, job)
    everything = {"job": job, "follow": True}
    feed = Feed(line, {"events.follow": {**everything, "since": 0}, "logs.follow": everything})
    with feed, _view(job, sheets, json) as view:
        return int(watch(feed, view)["exit_code"])


def _load_what_the_end_needs() -> None:
    """Hours from now another version may be installed, or none."""
    import backends
    import cli.commands.status
    import cli.summary  # noqa: F401

    backends.preload()


def _view(job: str, sheets: int, json: bool) -> AbstractContextManager[View]:
    from cli import attached, lines
    from cli.board import Board
    from cli.writers import TextWriter, no_prefix, prefix, renderer_of, sink_for

    if json:
        return nullcontext(attached.JsonView())
    board, text = Board(job, sheets), lines.Text(renderer_of, lines.ALL)
    if not output.is_terminal() or os.environ.get("TERM") == "dumb":
        return nullcontext(attached.PlainView(board, TextWriter(text, sink_for(sheets))))
    from cli.progress import LiveView  # rich, for terminals only

    return LiveView(board, TextWriter(text, lines.Prefixed(prefix if sheets > 1 else no_prefix)))


def _say_how_it_ended(job: str) -> None:
    from cli.commands.status import fetch
    from cli.summary import summary

    with connect() as line:
        output.say(summary(fetch(line, job), time.time()))
