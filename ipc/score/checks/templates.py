"""Prompt templates: V001 syntax, V101 undefined variables, V202 single braces, V208 shadowed built-ins,
V226 given variables that nothing uses."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from ipc.score.expand import PlannedSheet
from ipc.score.load import LoadedScore
from ipc.score.problems import ERROR, WARNING, Field, Problem, dotted, misspelt, suggestion
from ipc.score.rendering import rendered
from ipc.score.template import TemplateProblem, names_used, render
from ipc.score.variables import BUILT_INS, built_in, merge

#: Sheets whose prompt is rendered to see whether it can be.
RENDERED = 100
#: Seconds for that, together.
PATIENCE = 10.0
#: Variables that are filled while the job runs.
_LATER = {"previous_outputs", "previous_files"}
#: What Jinja would print, where it is not asked to.
JINJA = re.compile(r"\{\{\s*(\w+)\b[^{}]*\}\}")
_BRACES = re.compile(r"(?<![{%#$\w])\{(\w+)\}(?!\})")


def syntax_and_names(loaded: LoadedScore) -> Iterator[Problem]:
    text = loaded.score.prompt.template or ""
    try:
        names = rendered(names_used, text)
    except TemplateProblem as problem:
        yield _at_line(loaded, "V001", ERROR, problem.message, problem.hint, problem.line)
        return
    known = known_names(loaded)
    for name, line in names.items():
        if name not in known:
            hint = suggestion(name, known) or f"set it: `prompt.variables.{name}`, or --var {name}=…"
            yield _at_line(loaded, "V101", ERROR, f"the template uses the undefined variable {name!r}", hint, line)


def renderings(loaded: LoadedScore) -> Iterator[Problem]:
    """What only rendering shows: a missing key, an included file, a loop that never ends. The first sheet at fault."""
    prompt = loaded.score.prompt
    text = prompt.template or ""
    try:
        used = set(rendered(names_used, text))
    except TemplateProblem:
        return
    if used & _LATER or used - known_names(loaded):
        return
    until = time.monotonic() + PATIENCE
    for sheet, known in _first_sheets(loaded):
        if time.monotonic() > until:
            return
        try:
            rendered(render, text, known, template_directory(loaded), prompt.includes)
        except TemplateProblem as problem:
            where = f" (stage {sheet.stage}, instance {sheet.instance})" if sheet.fan_count > 1 else ""
            message = f"cannot render the prompt of sheet {sheet.n}{where}: {problem.message}"
            code = "V001" if problem.line is not None else "V101"
            yield _at_line(loaded, code, ERROR, message, problem.hint, None if problem.name else problem.line)
            return


def braces(loaded: LoadedScore) -> Iterator[Problem]:
    known = known_names(loaded)
    text = loaded.score.prompt.template or ""
    seen: set[str] = set()
    for match in _BRACES.finditer(text):
        name = match.group(1)
        if name in known and name not in seen:
            seen.add(name)
            line = text.count("\n", 0, match.start()) + 1
            message = f"{{{name}}} is not replaced in a template"
            yield _at_line(loaded, "V202", WARNING, message, f"templates take {{{{ {name} }}}}", line)


def unrendered(loaded: LoadedScore) -> Iterator[Problem]:
    """Braces in a variable's text: it is put into the prompt as it is, not rendered."""
    known = known_names(loaded)
    for name, value in loaded.score.prompt.variables.items():
        match = JINJA.search(value) if isinstance(value, str) else None
        if match and match.group(1) in known:
            message = f"{match.group(0)} in the variable {name!r} is not replaced: variables are not rendered"
            hint = "move the text into the template, or into a file that it includes"
            yield loaded.found("V202", WARNING, ("prompt", "variables", name), message, hint)


def shadowed(loaded: LoadedScore) -> Iterator[Problem]:
    for name in loaded.score.prompt.variables:
        if name in BUILT_INS:
            message = f"the variable {name!r} hides the built-in one"
            yield loaded.found("V208", WARNING, ("prompt", "variables", name), message, "choose another name")


def given(loaded: LoadedScore) -> Iterator[Problem]:
    """What `--var` sets and nothing uses."""
    prompt = loaded.score.prompt
    text = prompt.template or ""
    elsewhere = loaded.source + text
    try:
        wanted = set(names_used(text)) - set(BUILT_INS)
    except TemplateProblem:
        return
    for name in prompt.given:
        if name in BUILT_INS or re.search(rf"\b{re.escape(name)}\b", elsewhere):
            continue
        near = misspelt(name, wanted | set(map(str, prompt.variables)) - set(prompt.given))
        if near or not re.search(r"\{%-?\s*(include|import|from|extends)\b", text):
            hint = f"did you mean --var {near}=…?" if near else "check its name: the score does not use it"
            yield loaded.found(
                "V226", WARNING, ("prompt", "variables", name), f"nothing uses the variable {name!r}", hint
            )


def known_names(loaded: LoadedScore) -> set[str]:
    return {*BUILT_INS, *(str(name) for name in loaded.score.prompt.variables)}


def template_directory(loaded: LoadedScore) -> str:
    """Where the template includes from."""
    template_file = loaded.score.prompt.template_file
    return template_file.rpartition("/")[0] if template_file else loaded.directory


def _first_sheets(loaded: LoadedScore) -> Iterator[tuple[PlannedSheet, dict[str, object]]]:
    sheets = loaded.sheets
    for sheet in sheets[:RENDERED]:
        yield sheet, merge(built_in(loaded.score, sheet, len(sheets)), loaded.score.prompt.variables)


def _at_line(loaded: LoadedScore, code: str, severity: str, message: str, hint: str, line: int | None) -> Problem:
    """A problem in the template's text, where that line stands: in the template file, or in the score."""
    prompt = loaded.score.prompt
    if prompt.template_file is not None:
        return Problem(code, severity, message, hint, prompt.template_file, line or 1, 1, "prompt.template_file")
    path: Field = ("prompt", "template")
    start = loaded.document.block_line(path)
    if start is None or line is None:
        return loaded.found(code, severity, path, message, hint)
    return Problem(code, severity, message, hint, loaded.document.path, start + line - 1, 1, dotted(path))
