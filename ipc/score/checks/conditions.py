"""Rules' conditions against the sheets that the score has: V112 never true, or not to be decided.

Their syntax and names were checked with the fields; here they are evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ipc.score.expand import PlannedSheet
from ipc.score.expressions import ExpressionError, compile_expression
from ipc.score.load import LoadedScore
from ipc.score.problems import ERROR, WARNING, Problem
from ipc.score.variables import built_in, merge

#: Sheets that one condition is tried on: a rule that only applies further on is not called unreachable.
TRIED = 2000


def conditions(loaded: LoadedScore) -> Iterator[Problem]:
    sheets = loaded.sheets
    judged: dict[str, tuple[str, str] | None] = {}
    for i, rule in enumerate(loaded.score.validations):
        if rule.condition is None:
            continue
        if rule.condition not in judged:
            judged[rule.condition] = _judge(loaded, rule.condition, sheets)
        fault = judged[rule.condition]
        if fault is not None:
            severity, message = fault
            yield loaded.found("V112", severity, ("validations", i, "condition"), message, _hint(sheets))


def _judge(loaded: LoadedScore, condition: str, sheets: Sequence[PlannedSheet]) -> tuple[str, str] | None:
    """What is wrong with the condition; stops at the first sheet for which it holds."""
    expression = compile_expression(condition)
    later = bool(expression.names & {"previous_outputs", "previous_files", "attempt", "job_id"})
    for sheet in sheets[:TRIED]:
        variables = merge(built_in(loaded.score, sheet, len(sheets)), loaded.score.prompt.variables)
        try:
            if expression.evaluate(variables):
                return None
        except ExpressionError as error:
            return None if later else (ERROR, f"the condition cannot be decided for sheet {sheet.n}: {error}")
    if later or len(sheets) > TRIED:
        return None
    return WARNING, f"the condition {condition!r} holds for no sheet, so the rule is never checked"


def _hint(sheets: Sequence[PlannedSheet]) -> str:
    return f"sheets are 1 to {len(sheets)}, stages 1 to {max(sheet.stage for sheet in sheets)}"
