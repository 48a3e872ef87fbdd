"""The whole prompt of an attempt, in the order of score-format §3.

Template; what it did not use of stakes and thinking method; what the last attempt failed on; lessons of the job's other
sheets; what will be checked. Pure but for files that the template includes. Called by workers before an attempt and by
`mozart plan --prompts`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ipc.messages import LastAttempt, Validation
from ipc.score.rules import Rule, applicable, describe
from ipc.score.template import NOTHING, names_used, render
from ipc.score.variables import merge

_SECTIONS = (("stakes", "Stakes"), ("thinking_method", "Thinking method"))


def assemble(
    prompt: Any,
    variables: Mapping[str, Any],
    rules: Sequence[Rule],
    mode: str = "normal",
    last: LastAttempt | None = None,
    lessons: Sequence[str] = (),
    directory: str | None = None,
    *,
    at_once: bool = False,
) -> str:
    """`prompt` is a `schema.Prompt` or its dump; `variables` are the built-in ones; `directory` is the score's.

    Raises `template.TemplateProblem`; `at_once`: also TooMuchError, for what may take long.
    """
    section, known, directory = _begin(prompt, variables, directory)
    failed = [_failure(last, rules, known)] if last is not None and mode == "normal" else []
    original = "\n\n".join(_original(section, known, rules, failed, lessons, directory, at_once))
    if mode == "completion":
        return f"{_completion(last, rules, known)}\n\n{original}\n"
    if mode == "resume":
        return f"{_resume(last, rules, known)}\n\n{original}\n"
    return f"{original}\n"


def script(prompt: Any, variables: Mapping[str, Any], directory: str | None = None, *, at_once: bool = False) -> str:
    """The prompt of a backend that runs it: the template's text and nothing else. Raises as `assemble`."""
    section, known, directory = _begin(prompt, variables, directory)
    text = render(section.get("template") or "", known, directory, section.get("includes") or NOTHING, at_once)
    return text if text.endswith("\n") else f"{text}\n"


def notes(
    prompt: Any,
    variables: Mapping[str, Any],
    rules: Sequence[Rule],
    mode: str = "normal",
    last: LastAttempt | None = None,
    lessons: Sequence[str] = (),
    *,
    at_once: bool = False,
) -> str:
    """What a script's prompt would say beside its template. Raises as `assemble`."""
    section, known, _ = _begin(prompt, variables, None)
    failed = [_failure(last, rules, known)] if last is not None and mode == "normal" else []
    parts = [_completion(last, rules, known)] if mode == "completion" else []
    parts += _beside(section, known, rules, failed, lessons, at_once)
    return "\n\n".join([part.strip("\n") for part in parts if part.strip()]) + "\n"


def _begin(
    prompt: Any, variables: Mapping[str, Any], directory: str | None
) -> tuple[Mapping[str, Any], dict[str, Any], str | None]:
    section = prompt if isinstance(prompt, Mapping) else prompt.model_dump(mode="json")
    known = merge(variables, section.get("variables") or {})
    if section.get("template_file"):
        directory = os.path.dirname(section["template_file"])
    return section, known, directory


def _original(
    section: Mapping[str, Any],
    known: dict[str, Any],
    rules: Sequence[Rule],
    failed: list[str],
    lessons: Sequence[str],
    directory: str | None,
    at_once: bool,
) -> list[str]:
    text = section.get("template") or ""
    parts = [render(text, known, directory, section.get("includes") or NOTHING, at_once)]
    parts += _beside(section, known, rules, failed, lessons, at_once)
    return [part.strip("\n") for part in parts if part.strip()]


def _beside(
    section: Mapping[str, Any],
    known: dict[str, Any],
    rules: Sequence[Rule],
    failed: list[str],
    lessons: Sequence[str],
    at_once: bool,
) -> list[str]:
    used = names_used(section.get("template") or "", at_once)
    parts = [f"## {title}\n\n{known[name]}" for name, title in _SECTIONS if known.get(name) and name not in used]
    parts += failed
    if lessons:
        parts.append(_list("What failed in this job so far", lessons))
    checks = [describe(rule, known) for _, rule in applicable(rules, known)]
    if checks:
        parts.append(_list("What will be checked when you are done", checks))
    return parts


def _list(title: str, items: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {_indent(item)}" for item in items)


def _indent(text: str) -> str:
    return text.strip().replace("\n", "\n  ")


def _completion(last: LastAttempt | None, rules: Sequence[Rule], known: Mapping[str, Any]) -> str:
    results = last["validations"] if last else []
    parts = [
        "This task was begun before, and part of it is done. Complete what is missing; leave what is satisfied as it is."
    ]
    done = [_described(result, rules, known) for result in results if result["passed"]]
    missing = [_missing(result, rules, known) for result in results if not result["passed"]]
    if done:
        parts.append(_list("Already satisfied", done))
    if missing:
        parts.append(_list("Still missing", missing))
    parts.append("## The task\n\nThis is the task as it was given, whole.")
    return "\n\n".join(parts)


def _resume(last: LastAttempt | None, rules: Sequence[Rule], known: Mapping[str, Any]) -> str:
    """The agent remembers what it did. The task follows whole all the same: it may have been cut out of its memory."""
    parts = ["You were interrupted while you worked on this task. Go on where you stopped; do not begin again."]
    missing = [_missing(result, rules, known) for result in last["validations"] if not result["passed"]] if last else []
    if missing:
        parts.append(_list("Still missing when it was last checked", missing))
    parts.append("## The task\n\nThis is the task as it was given, whole.")
    return "\n\n".join(parts)


def _failure(last: LastAttempt, rules: Sequence[Rule], known: Mapping[str, Any]) -> str:
    reasons = [last["message"]] if last["message"] else []
    reasons += [_missing(result, rules, known) for result in last["validations"] if not result["passed"]]
    return _list("The last attempt at this task failed; avoid what it failed on", reasons or [last["verdict"]])


def _described(result: Validation, rules: Sequence[Rule], known: Mapping[str, Any]) -> str:
    index = result["index"]
    return describe(rules[index], known) if 0 <= index < len(rules) else result["description"] or result["type"]


def _missing(result: Validation, rules: Sequence[Rule], known: Mapping[str, Any]) -> str:
    words = _described(result, rules, known)
    return f"{words}: {result['detail']}" if result["detail"] else words
