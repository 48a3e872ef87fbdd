"""`mozart plan`: what a score will do, wave by wave, and its prompts. Asks no daemon; `mozart run --dry-run` is the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cli import output, text
from cli.arguments import Argument, Option
from cli.options import Json

if TYPE_CHECKING:
    from ipc.score.problems import Problem

EXAMPLE = "mozart plan examples/hello.yaml\nmozart plan review.yaml --prompts --var branch=main"

HEADER = ("SHEET", "STAGE", "ITEMS", "AFTER", "BACKEND", "TIMEOUT", "CHECKS")
#: Sheets of one wave shown on a terminal; `--json` has them all.
SHOWN = 40


def command(
    score: Annotated[str, Argument(metavar="SCORE", help="The score's file.")],
    prompts: Annotated[bool, Option("--prompts", help="Show each sheet's prompt.")] = False,
    workspace: Annotated[str | None, Option("--workspace", metavar="P", help="Instead of the score's.")] = None,
    var: Annotated[list[str] | None, Option("--var", metavar="K=V", help="A template variable; repeat.")] = None,
    sets: Annotated[list[str] | None, Option("--set", metavar="F=V", help="A field of the score; repeat.")] = None,
    lenient: Annotated[bool, Option("--lenient", help="Unknown keys are warnings, not errors.")] = False,
    json: Json = False,
) -> int:
    """Show what a score will do: its sheets in waves, what each waits for, and with --prompts what each will be told."""
    from cli.commands.run import pairs
    from ipc.score.check import check  # with pydantic, yaml and jinja2, for verbs that read scores
    from ipc.score.load import load_score
    from ipc.score.plan import plan

    loaded = load_score(score, pairs("--var", var), pairs("--set", sets), workspace, lenient)
    problems = [problem for problem in [*loaded.problems, *check(loaded)] if problem.severity != "info"]
    planned = plan(loaded, problems, prompts)
    if json:
        output.document(planned)
        return 0
    output.say("\n".join(render(planned)))
    _tell(problems)
    return 0


def render(planned: dict[str, Any]) -> Iterator[str]:
    """The plan as lines for people."""
    waves: dict[int, list[dict[str, Any]]] = {}
    for sheet in planned["sheets"]:
        waves.setdefault(sheet["wave"], []).append(sheet)
    yield output.paint(planned["name"], output.BOLD)
    counted = [(planned["total_sheets"], "sheet"), (len(waves), "wave")]
    if planned["total_stages"] != planned["total_sheets"]:
        counted.insert(1, (planned["total_stages"], "stage"))
    yield ", ".join(f"{n:,} {word}{'s' if n != 1 else ''}" for n, word in counted) + f", in {planned['workspace']}"
    for wave, sheets in waves.items():
        yield ""
        yield f"wave {wave}"
        yield from _wave(sheets)
    for sheet in planned["sheets"]:
        if "prompt" in sheet:
            yield from _prompt(sheet)


def _wave(sheets: Sequence[dict[str, Any]]) -> Iterator[str]:
    rows = [_row(sheet) for sheet in sheets[:SHOWN]]
    yield from ("  " + line for line in output.table(HEADER, rows).splitlines())
    if len(sheets) > SHOWN:
        yield f"  … and {len(sheets) - SHOWN:,} more, up to sheet {sheets[-1]['n']}"


def _row(sheet: dict[str, Any]) -> tuple[str, ...]:
    fan = (
        f"{sheet['stage']} ({sheet['instance']} of {sheet['fan_count']})"
        if sheet["fan_count"] > 1
        else str(sheet["stage"])
    )
    items = f"{sheet['start_item']}-{sheet['end_item']}" if sheet["end_item"] > sheet["start_item"] else ""
    checks = str(sheet["validations"]) if sheet["validations"] else ""
    timeout = text.duration(sheet["timeout_seconds"])
    stage = fan if sheet["stage"] != sheet["n"] or sheet["fan_count"] > 1 else ""
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
    yield sheet["prompt"].rstrip("\n") if sheet["prompt"] is not None else "(cannot be made, see below)"


def _tell(problems: Sequence[Problem]) -> None:
    for problem in problems:
        output.tell(str(problem))
