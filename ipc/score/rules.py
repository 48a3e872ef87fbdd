"""A score's validation rules, as data: which apply to a sheet, what their paths and commands are, how they read.

Running them is the workers'; a condition that cannot be decided is a fault that they report, never a pass. Rules are dicts
as `schema.Validation` dumps them, so that workers need no pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ipc.score.expressions import ExpressionError, compile_expression
from ipc.score.shell import PLACEHOLDER, shown

Rule = Mapping[str, Any]

#: Variables that hold what agents said.
FOREIGN = frozenset({"previous_outputs", "previous_files", "outputs", "feedback"})


def outside(prompt: Mapping[str, Any]) -> frozenset[str]:
    """Variables whose values are not the author's; `prompt` is a dumped `schema.Prompt`."""
    return (FOREIGN - set(prompt.get("variables") or ())) | set(prompt.get("given") or ())


def applicable(rules: Sequence[Rule], variables: Mapping[str, Any]) -> list[tuple[int, Rule]]:
    """The rules whose condition holds, with their index; also those whose condition has a fault (`condition_fault`)."""
    return [(index, rule) for index, rule in enumerate(rules) if _applies(rule, variables)]


def condition_fault(rule: Rule, variables: Mapping[str, Any]) -> str:
    """Why the rule's condition cannot be decided; empty when it can. A rule with a fault has failed."""
    condition = rule.get("condition")
    if condition is None:
        return ""
    try:
        compile_expression(condition).evaluate(variables)
    except ExpressionError as error:
        return str(error)
    return ""


def _applies(rule: Rule, variables: Mapping[str, Any]) -> bool:
    condition = rule.get("condition")
    if condition is None:
        return True
    try:
        return bool(compile_expression(condition).evaluate(variables))
    except ExpressionError:
        return True


def fill(text: str, variables: Mapping[str, Any]) -> str:
    """`text` with each `{name}` of a known variable replaced, other braces left. Not for a shell, see `shell.compose`."""

    def value(match: re.Match[str]) -> str:
        return str(variables[match[1]]) if match[1] in variables else match[0]

    return PLACEHOLDER.sub(value, text)


def placeholders(text: str) -> list[str]:
    """The names that `fill` would look for."""
    return PLACEHOLDER.findall(text)


def describe(rule: Rule, variables: Mapping[str, Any]) -> str:
    """The rule in words, for the agent and for people."""
    words = _in_words(rule, variables)
    description = rule.get("description")
    return f"{fill(description, variables)} ({words})" if description else words


def _in_words(rule: Rule, variables: Mapping[str, Any]) -> str:
    path = fill(rule.get("path") or "", variables)
    pattern = fill(rule.get("pattern") or "", variables)
    match rule["type"]:
        case "file_exists":
            return f"the file {path} exists"
        case "file_modified":
            return f"the file {path} was changed"
        case "content_contains":
            return f"the file {path} contains {pattern!r}"
        case "content_regex":
            return f"the file {path} matches the regular expression {pattern!r}"
    return f"this command succeeds: {shown(rule.get('command') or '', variables, FOREIGN).strip()}"
