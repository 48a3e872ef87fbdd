"""Prompt templates: V001 syntax, V101 undefined variables. Called when a score is loaded, because either ends a submission."""

from __future__ import annotations

from ipc.score.load import LoadedScore
from ipc.score.problems import ERROR, Field, Problem, dotted, suggestion
from ipc.score.template import TemplateProblem, names_used
from ipc.score.variables import BUILT_INS


def template_problems(loaded: LoadedScore) -> list[Problem]:
    text = loaded.score.prompt.template
    if text is None:
        return []
    try:
        names = names_used(text)
    except TemplateProblem as problem:
        return [at_line(loaded, "V001", problem.message, problem.hint, problem.line)]
    known = {*BUILT_INS, *map(str, loaded.score.prompt.variables)}
    return [
        at_line(loaded, "V101", f"the template uses the undefined variable {name!r}", _hint(name, known), line)
        for name, line in names.items()
        if name not in known
    ]


def at_line(loaded: LoadedScore, code: str, message: str, hint: str, line: int | None) -> Problem:
    """A problem in the template's text, where that line stands: in the template file, or in the score."""
    prompt = loaded.score.prompt
    if prompt.template_file is not None:
        return Problem(code, ERROR, message, hint, prompt.template_file, line or 1, 1, "prompt.template_file")
    path: Field = ("prompt", "template")
    start = loaded.document.block_line(path)
    if start is None or line is None:
        return loaded.document.problem(code, ERROR, path, message, hint)
    return Problem(code, ERROR, message, hint, loaded.document.path, start + line - 1, 1, dotted(path))


def _hint(name: str, known: set[str]) -> str:
    return suggestion(name, known) or f"set it with `prompt.variables.{name}` or --var {name}=…"
