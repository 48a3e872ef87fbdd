"""What a score will do, as data: the DAG by waves, and the prompts if asked. `mozart plan` prints it; needs no daemon."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ipc.score import routing
from ipc.score.checks.rules import places
from ipc.score.checks.templates import template_directory
from ipc.score.expand import PlannedSheet, in_order, total_stages, waves
from ipc.score.load import LoadedScore
from ipc.score.problems import INFO, WARNING, Problem
from ipc.score.prompt import assemble, script
from ipc.score.rendering import rendered
from ipc.score.rules import applicable
from ipc.score.scripts import takes_script
from ipc.score.template import TemplateProblem, names_used
from ipc.score.variables import built_in, merge

#: Seconds that making prompts may take together.
PATIENCE = 60.0


def plan(loaded: LoadedScore, problems: Sequence[Problem], prompts: bool = False) -> dict[str, Any]:
    """The document of `mozart plan --json`; `problems` become its warnings."""
    score = loaded.score
    sheets = loaded.sheets
    following = in_order(sheets) if score.plays_in_order else sheets
    wave_of = {n: i for i, wave in enumerate(waves(following), 1) for n in wave}
    rules = [rule.model_dump(mode="json") for rule in score.validations]
    warnings = list(problems)
    shown = [_sheet(loaded, sheet, len(sheets), wave_of[sheet.n], rules) for sheet in sheets]
    for n, route in routing.routes(score, sheets, loaded.directory):
        shown[n - 1]["backend_reason"] = route.reason
        if route.to_claude:
            shown[n - 1]["backend"] = _claude(loaded, n)
    if prompts:
        warnings += _add_prompts(loaded, shown, rules)
    return {
        "name": score.name,
        "workspace": score.workspace,
        "total_sheets": len(sheets),
        "total_stages": total_stages(score.sheet),
        "in_order": score.plays_in_order,
        "max_attempts": max(1, score.retry.max_retries),
        "sheets": shown,
        "rule_paths": [{"rule": i, "path": path, "places": found} for i, path, found in places(loaded)],
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


def _claude(loaded: LoadedScore, n: int) -> str:
    """Which backend it is that `bridge:` means."""
    fallbacks = loaded.score.backend_for(n).fallbacks
    return next((each.type for each in fallbacks if each.type in routing.CLAUDE), "claude_cli")


def _add_prompts(loaded: LoadedScore, shown: list[dict[str, Any]], rules: Sequence[dict[str, Any]]) -> list[Problem]:
    """Each first attempt's prompt, as it would be if nothing ran before; null where it cannot be made, with a warning."""
    prompt, directory = loaded.score.prompt.model_dump(mode="json"), template_directory(loaded)
    failed: list[tuple[int, TemplateProblem]] = []
    until = time.monotonic() + PATIENCE
    for sheet, entry in zip(loaded.sheets, shown, strict=True):
        try:
            if time.monotonic() > until:
                raise TemplateProblem(f"the prompts before it took more than {PATIENCE:g} s")
            known = built_in(loaded.score, sheet, len(shown))
            if takes_script(loaded.score.backend_for(sheet.n).model_dump(mode="json")):
                entry["prompt"] = rendered(script, prompt, known, directory)
            else:
                entry["prompt"] = rendered(assemble, prompt, known, rules, "normal", None, (), directory)
        except TemplateProblem as problem:
            entry["prompt"] = None
            failed.append((sheet.n, problem))
    return [*_failures(loaded, failed), *_later_note(loaded)]


def _failures(loaded: LoadedScore, failed: Sequence[tuple[int, TemplateProblem]]) -> list[Problem]:
    if not failed:
        return []
    n, first = failed[0]
    others = f" (and of {len(failed) - 1:,} more)" if failed[1:] else ""
    message = f"the prompt of sheet {n}{others} cannot be shown: {first.message}"
    return [loaded.found("V101", WARNING, ("prompt",), message, first.hint)]


def _later_note(loaded: LoadedScore) -> list[Problem]:
    try:
        used = rendered(names_used, loaded.score.prompt.template or "")
    except TemplateProblem:
        return []
    later = [name for name in ("previous_outputs", "previous_files") if name in used]
    if not later:
        return []
    message = f"prompts are shown as before the first sheet: {' and '.join(later)} {'are' if later[1:] else 'is'} empty"
    return [loaded.found("V101", INFO, ("prompt",), message, "`mozart logs JOB --prompt` shows what was sent")]
