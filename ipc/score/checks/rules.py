"""Validation rules: V106 empty pattern, V107 absolute path missing now, V201 Jinja braces, V203 none, V205 only file_exists,
V214 path leaves the workspace, V222 a name slightly wrong, V225 a path of two files; V101 for a name that nothing fills."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ipc.score import rules as fields
from ipc.score.checks.templates import JINJA, known_names
from ipc.score.load import LoadedScore
from ipc.score.problems import ERROR, INFO, WARNING, Field, Problem, misspelt, suggestion
from ipc.score.rules import fill
from ipc.score.variables import built_in, merge


def placeholders(loaded: LoadedScore) -> Iterator[Problem]:
    known = known_names(loaded)
    for path, text in _texts(loaded):
        for match in JINJA.finditer(text):
            if match.group(1) in known:
                message = f"{match.group(0)} is not replaced here"
                severity = ERROR if path[-1] == "path" else WARNING
                yield loaded.found("V201", severity, path, message, f"write {{{match.group(1)}}} with single braces")
                break
        if path[-1] == "path":
            yield from _unknown(loaded, path, text, known)
        else:
            yield from misspelt_names(loaded, path, text, known)


def _unknown(loaded: LoadedScore, path: Field, text: str, known: set[str]) -> Iterator[Problem]:
    for name in fields.placeholders(text):
        if name not in known:
            hint = suggestion(name, known) or f"known are {', '.join(sorted(known))}"
            yield loaded.found("V101", ERROR, path, f"the path uses the undefined variable {name!r}", hint)


def misspelt_names(loaded: LoadedScore, path: Field, text: str, known: set[str]) -> Iterator[Problem]:
    """`{workspce}`. Other words in braces are the shell's or awk's."""
    for name in dict.fromkeys(fields.placeholders(text)):
        if name not in known and (near := misspelt(name, known)):
            message = f"{{{name}}} is not replaced: there is no such variable"
            yield loaded.found("V222", WARNING, path, message, f"did you mean {{{near}}}?")


def patterns(loaded: LoadedScore) -> Iterator[Problem]:
    for i, rule in enumerate(loaded.score.validations):
        if rule.pattern is not None and not rule.pattern.strip():
            message = "the pattern is empty: every file matches it"
            yield loaded.found(
                "V106", WARNING, ("validations", i, "pattern"), message, "write what the file must contain"
            )


def paths(loaded: LoadedScore) -> Iterator[Problem]:
    """Filled as for the first sheet: where a path leads does not depend on the sheet, barring oddities."""
    sheets = loaded.sheets
    variables = merge(built_in(loaded.score, sheets[0], len(sheets)), loaded.score.prompt.variables)
    for i, rule in enumerate(loaded.score.validations):
        if rule.path is None or JINJA.search(rule.path):
            continue
        where: Field = ("validations", i, "path")
        path = fill(rule.path, variables)
        if _leaves(path, loaded.score.workspace):
            message = f"the path {path} is outside the workspace {loaded.score.workspace}, so the rule can never pass"
            yield loaded.found("V214", ERROR, where, message, "begin it with {workspace}/")
        elif os.path.isabs(rule.path) and not os.path.exists(os.path.dirname(path)):
            message = f"the directory of {path} does not exist now"
            yield loaded.found("V107", WARNING, where, message, "use {workspace}/…, which moves with --workspace")


def places(loaded: LoadedScore) -> Iterator[tuple[int, str, list[str]]]:
    """Of each rule with a relative path: its number, the path, and where it is looked up, the first preferred."""
    score, sheets = loaded.score, loaded.sheets
    variables = merge(built_in(score, sheets[0], len(sheets)), score.prompt.variables)
    directory = score.backend_for(sheets[0].n).working_directory or loaded.directory
    for i, rule in enumerate(score.validations):
        path = fill(rule.path or "/", variables)
        if not os.path.isabs(path) and not JINJA.search(path):
            roots = dict.fromkeys((score.workspace, directory))
            yield i, path, [os.path.normpath(os.path.join(root, path)) for root in roots]


def ambiguous(loaded: LoadedScore) -> Iterator[Problem]:
    for i, path, found in places(loaded):
        if len(found) > 1 and all(map(os.path.lexists, found)):
            message = f"{path} is both {found[0]} and {found[1]}: the first is used"
            hint = f"write {{workspace}}/{path} for the first, or the whole path within the workspace"
            yield loaded.found("V225", WARNING, ("validations", i, "path"), message, hint)


def _leaves(path: str, workspace: str) -> bool:
    inside = os.path.realpath(workspace)
    real = os.path.realpath(os.path.join(inside, path))
    return real != inside and not real.startswith(inside.rstrip("/") + "/")


def coverage(loaded: LoadedScore) -> Iterator[Problem]:
    rules = loaded.score.validations
    if not rules:
        message = "there are no validations: a sheet counts as done when its agent says so"
        yield loaded.found(
            "V203", WARNING, ("validations",), message, "add validations for what the agent must leave behind"
        )
    elif all(rule.type == "file_exists" for rule in rules):
        message = "the validations only look whether files exist, not what is in them"
        yield loaded.found("V205", INFO, ("validations",), message, "add content_contains or command_succeeds")


def _texts(loaded: LoadedScore) -> Iterator[tuple[Field, str]]:
    for i, rule in enumerate(loaded.score.validations):
        for name in ("path", "pattern", "command", "working_directory"):
            text = getattr(rule, name)
            if text is not None:
                yield ("validations", i, name), text
    for n, skip in loaded.score.sheet.skip_when_command.items():
        yield ("sheet", "skip_when_command", n, "command"), skip.command
