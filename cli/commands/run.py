"""`mozart run`: check a score, hand it to the daemon, watch it to its end."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Container, Mapping
from contextlib import AbstractContextManager, nullcontext
from json import loads
from typing import TYPE_CHECKING, Annotated, Any

from cli import completions, output
from cli.arguments import Option, is_text
from cli.daemon import connect, connect_or_start
from cli.durations import moment_of, understood
from cli.options import Json, ScoreArgument
from ipc.environment import REFERENCE, described, is_access, is_named
from ipc.errors import EXIT_INTERRUPTED, EXIT_USAGE, MozartError
from ipc.line import Line

if TYPE_CHECKING:
    from cli.attached import View
    from ipc.score.load import LoadedScore

EXAMPLE = "mozart run examples/hello.yaml\nmozart run review.yaml --var branch=main --detach"


def command(
    score: ScoreArgument,
    detach: Annotated[bool, Option("--detach", "-d", help="Print the job's id and return at once.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Show the plan and run nothing (same as mozart plan).")] = False,
    workspace: Annotated[
        str | None, Option("--workspace", metavar="P", help="Use this workspace instead of the score's.")
    ] = None,
    var: Annotated[
        list[str] | None, Option("--var", metavar="K=V", help="Set a template variable; may be repeated.")
    ] = None,
    var_json: Annotated[
        list[str] | None,
        Option("--var-json", metavar="K=JSON", help="Set a template variable to a JSON value; may be repeated."),
    ] = None,
    sets: Annotated[
        list[str] | None, Option("--set", metavar="F=V", help="Override a field of the score; may be repeated.")
    ] = None,
    lenient: Annotated[bool, Option("--lenient", help="Treat unknown keys as warnings, not errors.")] = False,
    fresh: Annotated[
        bool, Option("--fresh", help="First archive the workspace, if the score sets archive_on_fresh.")
    ] = False,
    no_start: Annotated[bool, Option("--no-start", help="Fail if no daemon is running.")] = False,
    start_sheet: Annotated[
        int | None, Option("--start-sheet", metavar="N", min=1, help="Skip the sheets before N.")
    ] = None,
    at: Annotated[
        str | None, Option("--at", metavar="T", help="Start at 22:30, 2026-11-24, 2026-11-24T06:00Z or +2h.")
    ] = None,
    after: Annotated[
        str | None,
        Option("--after", metavar="JOB", help="Start when that job has completed.", complete=completions.jobs),
    ] = None,
    group: Annotated[
        str | None, Option("--group", metavar="NAME", help="Share this group's limit.", complete=completions.groups)
    ] = None,
    self_healing: Annotated[bool, Option("--self-healing", hidden=True)] = False,
    escalation: Annotated[bool, Option("--escalation", hidden=True)] = False,
    quiet: Annotated[
        bool, Option("--quiet", "-q", help="Print only the job's id, and at the end what failed.")
    ] = False,
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
        return _dry_run(score, workspace, var, var_json, sets, lenient, json)
    begin = moment_of("--at", at, time.time()) if at else None
    loaded = load(score, variables(var, var_json), pairs("--set", sets), workspace, lenient)
    _tell_what_is_there(loaded, fresh)
    more = {"fresh": fresh, "start_sheet": start_sheet, "at": begin, "after": after, "group": group}
    job = _submit(loaded, {name: value for name, value in more.items() if value is not None}, not no_start)
    if begin is not None and not quiet:
        output.tell(f"mozart: {job} begins {understood(begin, time.time())}")
    return _detached(job, json, quiet) if detach else attach(job, json, quiet)


def _submit(loaded: LoadedScore, given: dict[str, Any], may_start: bool) -> str:
    """The job's id. Says what the daemon has otherwise than we."""
    line, started = connect_or_start(may_start=may_start)
    if started is not None:
        output.tell(f"mozart: started the daemon (pid {started})")
    with line:
        names = line.client.daemon["submit_env"]
        # A daemon that was started from here has what we have.
        if started is None and line.client.daemon.get("compares_environment"):
            given["known"] = known_variables(loaded, os.environ, names)
        answer = line.request("submit", {**submission(loaded, os.environ, names), **given})
    tell_differences(answer.get("environment") or {}, loaded.score.backend.env)
    for warning in answer.get("warnings", ()):
        output.tell(f"mozart: warning: {warning}")
    return str(answer["job"])


def _tell_what_is_there(loaded: LoadedScore, fresh: bool) -> None:
    from cli.earlier import sentence

    lifecycle = loaded.score.workspace_lifecycle
    if not (fresh and lifecycle and lifecycle.archive_on_fresh) and (said := sentence(loaded)):
        output.tell(said)


def pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """`K=V` each."""
    found = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not (name and equals):
            hint = f"write it as in {option} branch=main"
            raise MozartError("usage", f"cannot understand {option} {pair}: expected NAME=VALUE", hint, EXIT_USAGE)
        found[name] = value
    return found


def variables(var: list[str] | None, var_json: list[str] | None) -> dict[str, Any]:
    """`--var` as it was typed, `--var-json` as `overrides.Json`."""
    from ipc.score.overrides import Json

    found: dict[str, Any] = dict(pairs("--var", var))
    for name, text in pairs("--var-json", var_json).items():
        try:
            found[name] = Json(loads(text, parse_constant=_no_constant, parse_int=_whole, parse_float=_finite))
        except (ValueError, RecursionError) as error:
            message = f"cannot understand --var-json {name}={text}: not JSON: {error}"
            raise MozartError("usage", message, f"text needs quotes: --var-json {name}='\"…\"'", EXIT_USAGE) from None
    return found


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number")


def _whole(text: str) -> int:
    if len(text) > 19 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text[:40]} is out of range")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:40]} is out of range")
    return float(text)


def submission(loaded: LoadedScore, env: Mapping[str, str], names: list[str]) -> dict[str, Any]:
    """`names`: what the daemon keeps of the submitter's environment, as its hello says."""
    environment = {name: value for name, value in env.items() if is_named(name, names)}
    for name, value in environment.items():
        if not is_text(value):
            message = f"cannot pass on the variable {name}: it is not UTF-8 text"
            raise MozartError("usage", message, "unset it, or take it out of the setting submit_env", EXIT_USAGE)
    return {
        "score": loaded.score.model_dump(mode="json"), "path": str(loaded.path), "source": loaded.source,
        "environment": environment,
    }  # fmt: skip


def known_variables(loaded: LoadedScore, env: Mapping[str, str], names: list[str]) -> dict[str, str]:
    """What of ours the daemon should have as well, described without its value: what looks like a login, unless we send it or
    the score sets it, and what the score refers to."""
    set_by_score = loaded.score.backend.env
    access = {name for name in env if is_access(name) and name not in set_by_score and not is_named(name, names)}
    values = (value for _, section in loaded.score.backend_sections() for value in section.env.values())
    return described(access.union(*(REFERENCE.findall(value) for value in values)), env)


def tell_differences(found: Mapping[str, list[str]], set_by_score: Container[str]) -> None:
    """On stderr, by name: agents run with the daemon's environment, and people expect their own."""
    sentences = {
        "other": "agents get the daemon's {}, which is not what it is here",
        "missing": "agents do not get {}: the daemon has no such variable",
        "only": "agents get the daemon's {}, which is not set here",
    }
    told = {
        kind: [name for name in names if kind != "only" or name not in set_by_score] for kind, names in found.items()
    }
    for kind, sentence in sentences.items():
        if told.get(kind):
            output.tell(f"warning: {sentence.format(', '.join(told[kind]))}")
    if any(told.values()):
        ways = "stop the daemon and start it from here, or let the setting submit_env name them (then yours are used)"
        output.tell(f"hint: `mozartd status --env` says where each comes from; {ways}")


def _dry_run(
    score: str,
    workspace: str | None,
    var: list[str] | None,
    var_json: list[str] | None,
    sets: list[str] | None,
    lenient: bool,
    json: bool,
) -> int:
    from cli.commands import plan

    return plan.command(
        score=score, workspace=workspace, var=var, var_json=var_json, sets=sets, lenient=lenient, json=json
    )


def load(
    score: str, given: dict[str, Any], sets: dict[str, str], workspace: str | None, lenient: bool = False
) -> LoadedScore:
    """The score, checked: errors refuse it, warnings go to stderr."""
    from cli.profiles import profile_faults  # all of them with pydantic, yaml, jinja2: only some verbs pay for that
    from ipc.score.check import check
    from ipc.score.load import load_score
    from ipc.score.problems import ScoreError, errors_of
    from ipc.score.unavailable import unavailable

    loaded = load_score(score, given, sets, workspace, lenient)
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


def _detached(job: str, json: bool, quiet: bool = False) -> int:
    if json:
        output.document({"job": job})
    elif quiet:
        output.say(job)
    else:
        output.tell(f"follow it with `mozart logs -f {job}`")
        output.say(job)
    return 0


def attach(job: str, json: bool, quiet: bool = False) -> int:
    """Watch the job to its end; Ctrl-C leaves it running."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        code = _watch(connect(), job, json, quiet)
    except KeyboardInterrupt:
        output.tell(f"\nmozart: detached; {job} goes on")
        output.tell(f"come back with `mozart logs -f {job}`, stop it with `mozart cancel {job}`")
        return EXIT_INTERRUPTED
    except output.OutputError as error:
        error.message += f"; {job} goes on"
        raise
    if not json and not (quiet and code == 0):
        _say_how_it_ended(job)
    return code


def _leave(number: int, _frame: object) -> None:
    """An exception, so that the terminal gets its cursor back."""
    sys.exit(128 + number)


def _watch(line: Line, job: str, json: bool, quiet: bool) -> int:
    from cli.attached import watch  # what only those who stay need
    from cli.feed import Feed
    from cli.writers import count_sheets

    _load_what_the_end_needs()
    _, sheets = count_sheets(line, job)
    everything = {"job": job, "follow": True}
    wanted = {"events.follow": {**everything, "since": 0}, "logs.follow": everything}
    if quiet and not json:
        # The end comes with the logs: of which nothing is to be shown.
        wanted = {"logs.follow": {**everything, "tail": 0}}
    feed = Feed(line, wanted)
    with feed, _view(job, sheets, json, quiet) as view:
        return int(watch(feed, view)["exit_code"])


def _load_what_the_end_needs() -> None:
    """Hours from now another version may be installed, or none."""
    import backends
    import cli.commands.status
    import cli.summary  # noqa: F401

    backends.preload()


def _view(job: str, sheets: int, json: bool, quiet: bool) -> AbstractContextManager[View]:
    from cli import attached, lines
    from cli.board import Board
    from cli.writers import TextWriter, no_prefix, prefix, renderer_of, sink_for

    if json:
        return nullcontext(attached.JsonView())
    if quiet:
        output.say(job)
        return nullcontext(attached.QuietView())
    board, text = Board(job, sheets), lines.Text(renderer_of, lines.ALL)
    if not output.is_terminal() or os.environ.get("TERM") == "dumb":
        return nullcontext(attached.PlainView(board, TextWriter(text, sink_for(sheets))))
    from cli.progress import LiveView  # rich, for terminals only

    return LiveView(board, TextWriter(text, lines.Prefixed(prefix if sheets > 1 else no_prefix), rewrites=True))


def _say_how_it_ended(job: str) -> None:
    from cli.commands.status import fetch
    from cli.summary import summary

    with connect() as line:
        output.say(summary(fetch(line, job), time.time()))
