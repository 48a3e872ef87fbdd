"""`mozart validate`: what is wrong with a score, each with its place and a hint. Asks no daemon.

Exit 0 good or warnings only, 1 errors, 2 the file cannot be read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from cli import output
from cli.arguments import Option
from cli.options import Json, ScoreArgument
from ipc import shown
from ipc.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE

if TYPE_CHECKING:
    from ipc.score.problems import Problem

EXAMPLE = "mozart validate review.yaml\nmozart validate review.yaml --lenient --json"

_COLOURS = {"error": output.RED, "warning": output.YELLOW, "info": output.DIM}


def command(
    score: ScoreArgument,
    lenient: Annotated[bool, Option("--lenient", help="Treat unknown keys as warnings, not errors.")] = False,
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
    workspace: Annotated[
        str | None, Option("--workspace", metavar="P", help="Use this workspace instead of the score's.")
    ] = None,
    json: Json = False,
) -> int:
    """Check a score.

    Its fields, templates, dependencies and rules, and what this machine must have to run it.
    """
    from cli.commands.run import pairs, variables

    problems, unreadable = find_problems(score, variables(var, var_json), pairs("--set", sets), workspace, lenient)
    errors = sum(problem.severity == "error" for problem in problems)
    if json:
        output.document({"valid": not errors, "problems": [problem.as_json() for problem in problems]})
    else:
        _show(score, problems, errors)
    return EXIT_USAGE if unreadable else EXIT_FAILED if errors else EXIT_DONE


def find_problems(
    score: str, given: dict[str, Any], sets: dict[str, str], workspace: str | None, lenient: bool
) -> tuple[list[Problem], bool]:
    """The problems, and whether the file could not even be read."""
    from cli.profiles import profile_faults
    from ipc.score.check import check  # with pydantic, yaml and jinja2, for verbs that read scores
    from ipc.score.load import read_score
    from ipc.score.problems import ScoreError

    try:
        loaded = read_score(score, given, sets, workspace, lenient)
    except ScoreError as error:
        return error.problems, error.unreadable
    # Valid is what `mozart run` takes.
    found = [replace(each, severity="error") if each.code == "unavailable" else each for each in check(loaded)]
    return [*loaded.problems, *found, *profile_faults(loaded)], False


def _show(score: str, problems: list[Problem], errors: int) -> None:
    for problem in problems:
        place, _, rest = str(problem).partition(f": {problem.code} {problem.severity}: ")
        kind = output.paint(problem.severity, _COLOURS[problem.severity])
        output.say(f"{shown.cell(place)}: {problem.code} {kind}: {rest}")
    counts: dict[str, Any] = {kind: sum(p.severity == kind for p in problems) for kind in ("error", "warning", "info")}
    found = ", ".join(f"{n} {kind}{'s' if n > 1 and kind != 'info' else ''}" for kind, n in counts.items() if n)
    output.say(f"{shown.cell(score)}: {'not valid' if errors else 'valid'}{f' ({found})' if found else ''}")
