"""`mozart validate`: everything that can be known about a loaded score before it runs.

What makes a score unusable by itself was refused by `load` already (fields, graph, expressions, files it needs); here are the
templates, the rules against the sheets, and this machine. Errors end a submission, warnings are said. Reads files, changes
nothing. Called by `run`, `plan` and `validate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ipc.score.checks import backends, conditions, flow, machine, rules, shell, templates
from ipc.score.load import LoadedScore
from ipc.score.problems import ERROR, WARNING, Problem
from ipc.score.unavailable import unavailable

CHECKS: tuple[Callable[[LoadedScore], Iterable[Problem]], ...] = (
    templates.syntax_and_names,
    templates.braces,
    templates.unrendered,
    templates.shadowed,
    templates.given,
    templates.renderings,
    conditions.conditions,
    rules.placeholders,
    rules.patterns,
    rules.paths,
    rules.ambiguous,
    rules.coverage,
    shell.values,
    shell.scripts,
    shell.names,
    shell.syntax,
    flow.fan_out,
    flow.sheet_keys,
    flow.costs,
    flow.switches,
    flow.retries,
    flow.versions,
    backends.timeouts,
    backends.permissions,
    backends.unused_fields,
    backends.visible,
    backends.programs,
    backends.packages,
    backends.bridge,
    machine.workspace,
    machine.working_directories,
    machine.hook_targets,
    machine.notification_secrets,
)


def check(loaded: LoadedScore) -> list[Problem]:
    """In the order of the file; errors first on a line. Not what `loaded.problems` says already."""
    found = [problem for one in CHECKS for problem in one(loaded)]
    found += _not_built(loaded)
    return sorted(found, key=lambda problem: (problem.line or 0, problem.severity != ERROR, problem.column or 0))


def _not_built(loaded: LoadedScore) -> Iterable[Problem]:
    for name in unavailable(loaded.score):
        words = name.split()[0]
        path = tuple(int(part) if part.isdecimal() else part for part in words.split("."))
        message = f"not available yet: {name}; `mozart run` refuses this score"
        yield loaded.found("unavailable", WARNING, path, message, "take it out to run the rest")
