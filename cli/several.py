"""One request for several jobs: each is answered, also when another one is refused.

Used by `cancel`, `pause`, `resume` and `retry`. A job that was named alone answers as ever: `{job, sheets}`, or its
error. Several give `{jobs: [answer, or {job, error}]}`, and the worst of their exit codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cli import output
from cli.commands.list import fetch
from cli.daemon import connect
from ipc.errors import EXIT_DONE, EXIT_UNREACHABLE, EXIT_USAGE, MozartError
from ipc.line import Line

Answer = dict[str, Any]
Ask = Callable[[Line, str], Answer]

#: Of jobs that were not named: they have ended by themselves since they were listed.
_ENDED = ("job_ended", "not_paused")


def check_choice(verb: str, jobs: Sequence[str] | None, **options: object) -> None:
    """Exactly one way to say which jobs are meant; the options are written `--name`."""
    given = [f"--{name}" for name, value in options.items() if value]
    if jobs:
        given.insert(0, "job ids")
    ways = ", ".join(f"--{name}" for name in options)
    if not given:
        raise MozartError("usage", f"cannot {verb}: no job is named", f"name jobs, or use {ways}", EXIT_USAGE)
    if len(given) > 1:
        raise MozartError("usage", f"cannot use {' together with '.join(given)}", "choose one", EXIT_USAGE)


def check_one(jobs: Sequence[str] | None, **options: object) -> None:
    """What is counted within a job is said of one job."""
    given = next((name for name, value in options.items() if value not in (None, False, [])), None)
    if given and len(jobs or ()) != 1:
        raise MozartError("usage", f"cannot use --{given} with several jobs", "name one job", EXIT_USAGE)


def ask_named(jobs: Sequence[str], ask: Ask, show: Callable[[Answer], None], json: bool) -> int:
    """One job, or several."""
    typed = list(dict.fromkeys(jobs))
    with connect() as line:
        if len(typed) > 1:
            return _ask_each(line, typed, ask, show, json)
        answer = ask(line, typed[0])
    if json:
        output.document(answer)
    else:
        show(answer)
    return EXIT_DONE


def ask_found(states: Sequence[str], ask: Ask, show: Callable[[Answer], None], json: bool) -> int:
    """Every job in these states now."""
    found, _ = fetch(list(states), False, None)
    if not found and not json:
        output.say(f"no job is {' or '.join(states)}")
    with connect() as line:
        return _ask_each(line, [job["id"] for job in found], ask, show, json, _ENDED)


def _ask_each(
    line: Line, jobs: Sequence[str], ask: Ask, show: Callable[[Answer], None], json: bool, passed: Sequence[str] = ()
) -> int:
    answers: list[Answer] = []
    worst = EXIT_DONE
    for job in jobs:
        try:
            answers.append(ask(line, job))
        except MozartError as error:
            if error.code in passed:
                continue
            answers.append({"job": job, "error": output.error_document(error)})
            worst = max(worst, error.exit_code)
            output.complain(error)
            if error.exit_code == EXIT_UNREACHABLE:
                break  # Nobody answers for the others either.
        else:
            if not json:
                show(answers[-1])
    if json:
        output.document({"jobs": answers})
    return worst
