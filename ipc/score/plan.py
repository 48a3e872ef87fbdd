"""What a score will do, as data: the DAG by waves, and the prompts if asked. `mozart plan` prints it; needs no daemon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipc.score.checks.templates import template_directory
from ipc.score.expand import PlannedSheet, total_stages, waves
from ipc.score.load import LoadedScore
from ipc.score.problems import INFO, WARNING, Problem
from ipc.score.prompt import assemble
from ipc.score.rules import applicable
from ipc.score.template import TemplateProblem, names_used
from ipc.score.variables import built_in, merge


def plan(loaded: LoadedScore, problems: Sequence[Problem], prompts: bool = False) -> dict[str, Any]:
    """The document of `mozart plan --json`; `problems` become its warnings."""
    score = loaded.score
    sheets = loaded.sheets
    wave_of = {n: i for i, wave in enumerate(waves(sheets), 1) for n in wave}
    rules = [rule.model_dump(mode="json") for rule in score.validations]
    warnings = list(problems)
    shown = [_sheet(loaded, sheet, len(sheets), wave_of[sheet.n], rules) for sheet in sheets]
    if prompts:
        for sheet, entry in zip(sheets, shown, strict=True):
            entry["prompt"] = _prompt(loaded, sheet, len(sheets), rules, warnings)
        warnings += _later_note(loaded)
    return {
        "name": score.name,
        "workspace": score.workspace,
        "total_sheets": len(sheets),
        "total_stages": total_stages(score.sheet),
        "sheets": shown,
        "warnings": [problem.as_json() for problem in warnings],
    }


def _sheet(
    loaded: LoadedScore, sheet: PlannedSheet, total: int, wave: int, rules: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    score = loaded.score
    conditional = any(rule["condition"] for rule in rules)
    known = merge(built_in(score, sheet, total), score.prompt.variables) if conditional else {}
    return sheet._asdict() | {
        "dependencies": list(sheet.dependencies),
        "wave": wave,
        "backend": score.backend_for(sheet.n).type,
        "timeout_seconds": score.timeout_for(sheet.n),
        "validations": len(applicable(rules, known)) if conditional else len(rules),
    }


def _prompt(
    loaded: LoadedScore, sheet: PlannedSheet, total: int, rules: Sequence[dict[str, Any]], warnings: list[Problem]
) -> str | None:
    """The first attempt's prompt as it would be if nothing ran before; None, and a warning, when it cannot be made."""
    prompt = loaded.score.prompt
    try:
        return assemble(prompt, built_in(loaded.score, sheet, total), rules, directory=template_directory(loaded))
    except TemplateProblem as problem:
        message = f"the prompt of sheet {sheet.n} cannot be shown: {problem.message}"
        warnings.append(loaded.found("V101", WARNING, ("prompt",), message, problem.hint))
    return None


def _later_note(loaded: LoadedScore) -> list[Problem]:
    try:
        used = names_used(loaded.score.prompt.template or "")
    except TemplateProblem:
        return []
    later = [name for name in ("previous_outputs", "previous_files") if name in used]
    if not later:
        return []
    message = f"prompts are shown as before the first sheet: {' and '.join(later)} {'are' if later[1:] else 'is'} empty"
    return [loaded.found("V101", INFO, ("prompt",), message, "`mozart logs JOB --prompt` shows what was sent")]
