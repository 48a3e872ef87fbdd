"""`mozart plan`: what a score will do, wave by wave, and its prompts. Asks no daemon; `mozart run --dry-run` is the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cli import output, text
from cli.arguments import Option
from cli.options import Json, ScoreArgument
from ipc.errors import EXIT_DONE, EXIT_USAGE

if TYPE_CHECKING:
    from ipc.score.problems import Problem

EXAMPLE = "mozart plan examples/hello.yaml\nmozart plan review.yaml --prompts --var branch=main"

HEADER = ("WAVE", "SHEET", "STAGE", "ITEMS", "AFTER", "BACKEND", "TIMEOUT", "CHECKS")
#: Rows shown of one wave, and of all; `--json` has every sheet.
WAVE_ROWS, ALL_ROWS = 40, 1000


def command(
    score: ScoreArgument,
    prompts: Annotated[bool, Option("--prompts", help="Show each sheet's prompt.")] = False,
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
    json: Json = False,
) -> int:
    """Show what a score will do.

    Its sheets in waves, what each waits for, and with --prompts what each will be told.
    """
    from cli.commands.run import pairs, variables
    from cli.profiles import profile_faults
    from ipc.score.check import check  # with pydantic, yaml and jinja2, for verbs that read scores
    from ipc.score.load import load_score
    from ipc.score.plan import plan
    from ipc.score.problems import ERROR

    loaded = load_score(score, variables(var, var_json), pairs("--set", sets), workspace, lenient)
    problems = [
        problem for problem in [*loaded.problems, *check(loaded), *profile_faults(loaded)] if problem.severity != "info"
    ]
    planned = plan(loaded, problems, prompts)
    if json:
        output.document(planned)
    else:
        output.say("\n".join(render(planned)))
        _tell(problems)
    return EXIT_USAGE if any(problem.severity == ERROR for problem in problems) else EXIT_DONE


def render(planned: dict[str, Any]) -> Iterator[str]:
    """The plan as lines for people."""
    waves: dict[int, list[dict[str, Any]]] = {}
    for sheet in planned["sheets"]:
        waves.setdefault(sheet["wave"], []).append(sheet)
    yield output.paint(planned["name"], output.BOLD)
    yield f"{_counted(planned, len(waves))}, in {planned['workspace']}"
    yield f"up to {_many(planned['max_attempts'], 'attempt')} a sheet"
    yield ""
    rows = [row for _, sheets in sorted(waves.items()) for row in _wave(sheets)]
    if planned["in_order"]:
        rows = [("", *row[1:]) for row in rows]  # Every sheet is a wave: a column of the same numbers says nothing.
    yield output.table(HEADER, rows[:ALL_ROWS])
    if len(rows) > ALL_ROWS:
        yield f"… and {len(rows) - ALL_ROWS:,} more rows; --json shows them all"
    for rule in planned["rule_paths"]:
        yield f"rule {rule['rule'] + 1}: {rule['path']} is looked up as {', then as '.join(rule['places'])}"
    for sheet in planned["sheets"]:
        if "prompt" in sheet:
            yield from _prompt(sheet)


def _counted(planned: dict[str, Any], waves: int) -> str:
    counts = [(planned["total_sheets"], "sheet"), (planned["total_stages"], "stage"), (waves, "wave")]
    if planned["total_stages"] == planned["total_sheets"]:
        del counts[1]
    if planned["in_order"] and planned["total_sheets"] > 1:
        return ", ".join([*(_many(n, word) for n, word in counts[:-1]), "in order: each after the one before"])
    return ", ".join(_many(n, word) for n, word in counts)


def _many(n: int, word: str) -> str:
    return f"{n:,} {word}{'s' if n != 1 else ''}"


def _wave(sheets: Sequence[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A wave's rows, its number on the first."""
    for i, sheet in enumerate(sheets[:WAVE_ROWS]):
        yield ("" if i else str(sheet["wave"]), *_row(sheet))
    if len(sheets) > WAVE_ROWS:
        yield ("", f"… {len(sheets) - WAVE_ROWS:,} more", *[""] * (len(HEADER) - 2))


def _row(sheet: dict[str, Any]) -> tuple[str, ...]:
    stage = str(sheet["stage"]) if sheet["stage"] != sheet["n"] else ""
    if sheet["fan_count"] > 1:
        stage = f"{sheet['stage']} ({sheet['instance']} of {sheet['fan_count']})"
    items = f"{sheet['start_item']}-{sheet['end_item']}" if sheet["end_item"] > sheet["start_item"] else ""
    checks = str(sheet["validations"]) if sheet["validations"] else ""
    timeout = text.duration(sheet["timeout_seconds"])
    return str(sheet["n"]), stage, items, _ranges(sheet["dependencies"]), sheet["backend"], timeout, checks


def _ranges(numbers: Sequence[int], limit: int = 8) -> str:
    """`1, 4-7, 9`."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    shown = [str(a) if a == b else f"{a}-{b}" if b > a + 1 else f"{a}, {b}" for a, b in runs[:limit]]
    return ", ".join(shown) + (", …" if len(runs) > limit else "")


def _prompt(sheet: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield output.paint(f"── prompt of sheet {sheet['n']} ──", output.BOLD)
    yield sheet["prompt"].rstrip("\n") if sheet["prompt"] is not None else "(cannot be rendered, see below)"


def _tell(problems: Sequence[Problem]) -> None:
    for problem in problems:
        output.tell(str(problem))
