"""`sheet.skip_when`: whether a sheet that is about to start is skipped instead.

Evaluates the score's expression over what the job's sheets are now. An expression that cannot be evaluated never skips: the
sheet runs, and the reason is logged. One that would take too long is its sheet's failure.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from ipc.score.expressions import ExpressionError, ExpressionTooLargeError, compile_expression
from mozartd.coordinator.model import Job, Sheet

log = logging.getLogger(__name__)


def why_skip(job: Job, sheet: Sheet) -> str:
    """The reason to skip the sheet, or ''. Raises ExpressionTooLargeError."""
    text = job.policy.skip_when.get(sheet.n)
    if not text:
        return ""
    try:
        value = compile_expression(text).evaluate(context(job))
    except ExpressionTooLargeError:
        raise
    except ExpressionError as error:
        log.warning("sheet %d of %s runs: its skip_when cannot be evaluated: %s", sheet.n, job.id, error)
        return ""
    return f"skip_when: {text}" if value else ""


def context(job: Job) -> dict[str, Any]:
    """What an expression sees: `sheets[n].status`, `job.name` and so on."""
    return {"sheets": _Sheets(job), "job": {"name": job.name, "status": job.state.value, "cost": job.cost_usd or 0.0}}


class _Sheets(Mapping[int, dict[str, Any]]):
    """Made as they are asked for: a start that looks at one sheet must not pay for all of its job's."""

    def __init__(self, job: Job) -> None:
        self._sheets = job.sheets

    def __repr__(self) -> str:
        return repr(dict(self))  # An expression may ask for str(sheets).

    def __getitem__(self, n: int) -> dict[str, Any]:
        return _facts(self._sheets[n])

    def __iter__(self) -> Iterator[int]:
        return iter(self._sheets)

    def __len__(self) -> int:
        return len(self._sheets)


def _facts(sheet: Sheet) -> dict[str, Any]:
    rules = sheet.last["validations"] if sheet.last else []
    return {
        "status": sheet.state.value, "attempts": sheet.k, "validation_passed": all(rule["passed"] for rule in rules),
        "output": sheet.output, "error": sheet.last["message"] if sheet.last and sheet.last["code"] else "",
    }  # fmt: skip
