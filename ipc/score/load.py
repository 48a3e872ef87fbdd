"""The one entrance: a score's file, with `--var`, `--set` and `--workspace`, into a `LoadedScore` or a `ScoreError`.

The files that a score names are read here, so that what was submitted is what runs. What a machine must have to run the score
is `check`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from ipc.files import NotRegularError, OutsideError, read_regular
from ipc.score import overrides
from ipc.score.anchor import anchor
from ipc.score.document import MAX_BYTES, Document, find_key, location_of, read_document
from ipc.score.expand import PlannedSheet, expand
from ipc.score.explain import UNKNOWN_KEY, explained, written
from ipc.score.problems import ERROR, WARNING, Field, Problem, ScoreError, errors_of
from ipc.score.profiles import take_profiles
from ipc.score.rendering import rendered
from ipc.score.schema import Score
from ipc.score.template import files_included, read_included


@dataclass
class LoadedScore:
    score: Score
    path: str
    """Absolute."""
    source: str
    """The file's text."""
    document: Document = field(repr=False)
    problems: list[Problem] = field(default_factory=list)
    """Found while loading. `load_score` lets no errors through."""

    @cached_property
    def sheets(self) -> list[PlannedSheet]:
        return expand(self.score)

    @property
    def directory(self) -> str:
        return os.path.dirname(self.path)

    def found(self, code: str, severity: str, path: Field, message: str, hint: str = "") -> Problem:
        """A problem with the place of `path`."""
        return self.document.problem(code, severity, path, message, hint)

    def is_written(self, *path: str | int) -> bool:
        """Whether the file (or the command line) sets this field."""
        here: Any = self.document.data
        for part in path:
            key = find_key(here, part)
            if key is None:
                return False
            here = here[key]
        return True

    def has_section(self, *path: str | int) -> bool:
        """Whether the file has this section; null is none."""
        here: Any = self.document.data
        for part in path:
            here = here[key] if (key := find_key(here, part)) is not None else None
        return here is not None


def load_score(
    path: str,
    variables: Mapping[str, Any] | None = None,
    sets: Mapping[str, str] | None = None,
    workspace: str | None = None,
    lenient: bool = False,
) -> LoadedScore:
    """A score that can be planned and run. Raises ScoreError with every problem found."""
    loaded = read_score(path, variables, sets, workspace, lenient)
    errors = errors_of(loaded.problems)
    if errors:
        raise ScoreError(path, errors)
    return loaded


def read_score(
    path: str,
    variables: Mapping[str, Any] | None = None,
    sets: Mapping[str, str] | None = None,
    workspace: str | None = None,
    lenient: bool = False,
) -> LoadedScore:
    """As `load_score`, but errors that leave the fields readable come in `problems`, for `mozart validate`."""
    document = read_document(path, may_be_pipe=True)
    overrides.apply(document, variables or {}, sets or {}, workspace)
    problems = [*_written_faults(document), *document.two_readings()]
    score = _validate(document, lenient, problems)
    problems += _read_files(score, document)
    problems += take_profiles(score, document)
    problems.sort(key=_place)
    absolute = location_of(path)
    return LoadedScore(score, absolute, document.source, document, problems)


def _written_faults(document: Document) -> list[Problem]:
    prompt, costs = document.data.get("prompt"), document.data.get("cost_limits")
    if isinstance(costs, dict) and costs.get("enabled") is True and not _has_limit(costs):
        message = "cost_limits is enabled without a limit"
        hint = "set max_cost_per_job or max_cost_per_sheet"
        return [document.problem("E302", ERROR, ("cost_limits", "enabled"), message, hint)]
    if isinstance(prompt, dict) and prompt.get("template") is not None and prompt.get("template_file") is not None:
        message = "set either prompt.template or prompt.template_file, not both"
        return [document.problem("E301", ERROR, ("prompt", "template_file"), message, "remove one of them")]
    return []


def _has_limit(costs: Mapping[str, Any]) -> bool:
    return any(costs.get(name) is not None for name in ("max_cost_per_job", "max_cost_per_sheet"))


def _validate(document: Document, lenient: bool, problems: list[Problem]) -> Score:
    """Lenient: what is unknown is dropped with a warning, and the rest must be right. `x-…` at the top is the author's own."""
    data = {key: value for key, value in document.data.items() if not str(key).startswith("x-")}
    try:
        return Score.model_validate(anchor(data, os.path.dirname(location_of(document.path))))
    except ValidationError as error:
        details = error.errors(include_url=False)
    unknown = [detail for detail in details if detail["type"] in UNKNOWN_KEY]
    if not lenient or not unknown:
        found = [problem for detail in details for problem in explained(document, detail)]
        raise ScoreError(document.path, sorted([*errors_of(problems), *found], key=_place))
    for detail in unknown:
        problems += explained(document, detail, WARNING)
        _drop(document.data, written(document.data, detail["loc"]))
    return _validate(document, False, problems)


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0


def _drop(data: Any, path: Field) -> None:
    for part in path[:-1]:
        data = data[part]
    # Where an alias repeats the map, the key is gone already.
    data.pop(path[-1], None)


def _read_files(score: Score, document: Document) -> list[Problem]:
    """Take in what the score names beside it, so that what was submitted is what runs; say which files cannot be read."""
    problems = []
    prompt = score.prompt
    if prompt.template_file is not None:
        prompt.template, why = _read_text(prompt.template_file)
        if why:
            message = f"cannot read the template {prompt.template_file}: {why}"
            problems.append(document.problem("V003", ERROR, ("prompt", "template_file"), message, _HINT_ANCHOR))
    for field_path, section in _system_prompts(score):
        section.system_prompt_text, why = _read_text(section.system_prompt_file)
        if why:
            message = f"cannot read the system prompt {section.system_prompt_file}: {why}"
            problems.append(document.problem("V004", ERROR, field_path, message, _HINT_ANCHOR))
    problems += _read_included(score, document)
    return problems


def _read_included(score: Score, document: Document) -> Iterator[Problem]:
    """What includes name in so many words. What is not there is said when the template is rendered: it may be ignored."""
    prompt = score.prompt
    directory = os.path.dirname(prompt.template_file or os.path.abspath(document.path))
    waiting, room = [prompt.template or ""], MAX_BYTES
    while waiting:
        text = waiting.pop()
        for name in rendered(files_included, text) if _INCLUDES.search(text) else ():
            if name in prompt.includes or len(prompt.includes) >= MAX_INCLUDED:
                continue
            try:
                prompt.includes[name] = included = read_included(directory, name)
            except (NotRegularError, OutsideError) as error:
                where = f"it is outside {directory}" if isinstance(error, OutsideError) else error
                field_name = "template_file" if prompt.template_file else "template"
                message = f"cannot include {name!r}: {where}"
                yield document.problem("V003", ERROR, ("prompt", field_name), message, "templates are ordinary files")
                return
            except (OSError, ValueError):
                continue
            waiting.append(included)
            room -= len(included)
            if room < 0:
                message = f"the files that the template includes are larger than {MAX_BYTES >> 20} MiB"
                yield document.problem("V003", ERROR, ("prompt",), message, "include fewer or smaller files")
                return


#: Files that a template includes, and those that these include, at most.
MAX_INCLUDED = 200
_INCLUDES = re.compile(r"\{%[+-]?\s*(?:include|import|from|extends)\b")
_HINT_ANCHOR = "relative paths start at the score's own directory"


def _system_prompts(score: Score) -> Iterator[tuple[Field, Any]]:
    for where, section in score.backend_sections():
        if section.system_prompt_file is not None:
            yield (*where, "system_prompt_file"), section


def _read_text(path: str) -> tuple[str | None, str]:
    """The file's text, or why there is none."""
    try:
        return read_regular(path, MAX_BYTES).decode("utf-8"), ""
    except NotRegularError as error:
        return None, str(error)
    except FileNotFoundError:
        return None, "it does not exist"
    except UnicodeDecodeError:
        return None, "it is not UTF-8 text"
    except (OSError, ValueError) as error:
        return None, (error.strerror if isinstance(error, OSError) else "") or str(error)
