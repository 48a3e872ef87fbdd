"""The one entrance: a score's file, with `--var`, `--set` and `--workspace`, into a `LoadedScore` or a `ScoreError`.

Here and nowhere else are relative paths anchored to the score's own directory, the template file read, and pydantic's errors
turned into problems with a place. What a machine must have to run the score is `check`'s.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ipc.errors import EXIT_USAGE, MozartError
from ipc.score.document import MAX_BYTES, Document, find_key, parse_value, read_document
from ipc.score.expand import PlannedSheet, expand
from ipc.score.problems import ERROR, WARNING, Field, Problem, ScoreError, dotted, errors_of, nearest, shown
from ipc.score.schema import Score

#: Fields that hold a path, by section; relative ones are anchored. Templated ones (they begin with a brace) stay.
_PATHS: tuple[tuple[str, ...], ...] = (
    ("workspace",),
    ("state_path",),
    ("backend", "system_prompt_file"),
    ("backend", "working_directory"),
    ("prompt", "template_file"),
    ("sheet", "backends", "*", "system_prompt_file"),
    ("sheet", "backends", "*", "working_directory"),
    ("isolation", "worktree_base"),
    ("learning", "outcome_store_path"),
    ("concert", "concert_log_path"),
    ("logging", "file_path"),
    ("bridge", "mcp_servers", "*", "working_dir"),
    ("on_success", "*", "job_path"),
    ("on_success", "*", "job_workspace"),
    ("on_success", "*", "working_directory"),
    ("on_failure_hooks", "*", "job_path"),
    ("on_failure_hooks", "*", "job_workspace"),
    ("on_failure_hooks", "*", "working_directory"),
)


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


def load_score(
    path: str,
    variables: Mapping[str, str] | None = None,
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
    variables: Mapping[str, str] | None = None,
    sets: Mapping[str, str] | None = None,
    workspace: str | None = None,
    lenient: bool = False,
) -> LoadedScore:
    """As `load_score`, but errors that leave the fields readable come in `problems`, for `mozart validate`."""
    document = read_document(path)
    for name, text in (variables or {}).items():
        _set(document, ("prompt", "variables", name), _variable(text))
    for name, text in (sets or {}).items():
        _set(document, tuple(name.split(".")), parse_value(text, f"--set {name}={text}"))
    if workspace is not None:
        _set(document, ("workspace",), os.path.abspath(os.path.expanduser(workspace)))
    problems = _written_faults(document)
    score = _validate(document, lenient, problems)
    problems += _read_files(score, document)
    problems.sort(key=_place)
    absolute = os.path.abspath(path)
    return LoadedScore(score, absolute, document.source, document, problems)


# ---- what the command line sets -------------------------------------------------------------------------------------


def _variable(text: str) -> Any:
    """`--var` values are scalars as YAML types them; what is no scalar is text."""
    try:
        value = parse_value(text, "--var")
    except ScoreError:
        return text
    return text if isinstance(value, dict | list) else value


def _set(document: Document, path: tuple[str, ...], value: Any) -> None:
    here: Any = document.data
    for part in path[:-1]:
        found = find_key(here, part)
        key = part if found is None else found
        if found is None or here[key] is None:
            _put(here, key, {}, path)
            here = here[key]
        else:
            here = document.own(here, key) if isinstance(here[key], dict | list) else here[key]
    last = find_key(here, path[-1])
    _put(here, path[-1] if last is None else last, value, path)
    document.overridden.add(path)


def _put(container: Any, key: Any, value: Any, path: tuple[str, ...]) -> None:
    if isinstance(container, dict) or (isinstance(container, list) and isinstance(key, int)):
        container[key] = value
        return
    what = (
        f"the list has {len(container)} items" if isinstance(container, list) else f"{shown(container)} has no fields"
    )
    message = f"cannot set {'.'.join(path)}: at {key!r} {what}"
    raise MozartError("E301", message, "name a field as in --set backend.timeout_seconds=60", EXIT_USAGE)


# ---- fields ---------------------------------------------------------------------------------------------------------


def _written_faults(document: Document) -> list[Problem]:
    prompt = document.data.get("prompt")
    if isinstance(prompt, dict) and prompt.get("template") is not None and prompt.get("template_file") is not None:
        message = "prompt.template and prompt.template_file exclude each other"
        return [document.problem("E301", ERROR, ("prompt", "template_file"), message, "remove one of them")]
    return []


def _validate(document: Document, lenient: bool, problems: list[Problem]) -> Score:
    directory = os.path.dirname(os.path.abspath(document.path))
    while True:
        data = _anchor(document.data, directory)
        try:
            return Score.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
        unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
        if not lenient or not unknown:
            found = [problem for detail in details for problem in _problems(document, detail)]
            raise ScoreError(document.path, sorted([*errors_of(problems), *found], key=_place))
        for detail in unknown:
            problems += _problems(document, detail, WARNING)
            _drop(document.data, _written(document.data, detail["loc"]))


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0


def _drop(data: Any, path: Field) -> None:
    for part in path[:-1]:
        data = data[part]
    # Where an alias repeats the map, the key is gone already.
    data.pop(path[-1], None)


def _written(data: Any, location: Field) -> Field:
    """The part of pydantic's location that is really in the file: without the names of union members and such."""
    path: list[str | int] = []
    for part in location:
        key = find_key(data, part)
        if key is not None:
            path.append(key)
            data = data[key]
    return tuple(path)


def _problems(document: Document, detail: ErrorDetails, severity: str = ERROR) -> Iterator[Problem]:
    path = _written(document.data, detail["loc"])
    context: dict[str, Any] = detail.get("ctx") or {}
    if detail["type"] == "faults":
        for code, below, message, hint in context["faults"]:
            yield document.problem(code, severity, (*path, *below), message, hint)
        return
    code, message, hint = _explain(detail, path, context)
    if detail["type"] == "missing":
        path = (*path, detail["loc"][-1])
    yield document.problem(code, severity, path, message, hint)


def _explain(detail: ErrorDetails, path: Field, context: dict[str, Any]) -> tuple[str, str, str]:
    """Code, sentence and hint for one of pydantic's errors."""
    kind, name = detail["type"], dotted(path)
    if kind == "missing":
        name = dotted((*path, detail["loc"][-1]))
        return "E302", f"the field {name} is missing", _EXAMPLES.get(name, "it is required")
    if kind == "extra_forbidden":
        return _explain_unknown(path)
    allowed = _allowed(kind, context) or _plain(detail["msg"])
    found = shown(detail["input"])
    hint = _HINTS.get(name, "")
    if kind == "literal_error":
        near = nearest(str(detail["input"]), context["expected"].replace("'", "").replace(" or ", ", ").split(", "))
        hint = f"did you mean {near!r}?" if near else ""
    elif kind == "string_type" and isinstance(detail["input"], int | float):
        hint = f'quote it: "{detail["input"]}"'
    code = kind if kind.startswith("V") else "E301"
    return code, f"{name} {allowed}, found {found}", hint


_EXAMPLES = {
    "name": "write `name: my-score`",
    "sheet": "write `sheet: {size: 1, total_items: 1}` for one sheet",
    "prompt": "write `prompt: {template: …}`, or `prompt: {}` for a backend that needs none",
}
_HINTS = {"sheet.total_items": "a score has at least one sheet", "name": "the name is one line of 1 to 200 characters"}
_KINDS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "finite_number": "must be a finite number",
}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "max_length": "no longer than"}


def _allowed(kind: str, context: dict[str, Any]) -> str:
    if kind in _KINDS:
        return _KINDS[kind]
    if kind == "literal_error":
        return f"must be one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return (
            f"must match {context['pattern']}"
            if len(context["pattern"]) < 30
            else "has characters that are not allowed"
        )
    for bound, words in _BOUNDS.items():
        if bound in context:
            return f"must be {words} {context[bound]:g}"
    return ""


def _plain(message: str) -> str:
    return message[:1].lower() + message[1:]


def _explain_unknown(path: Field) -> tuple[str, str, str]:
    known = known_keys(path[:-1])
    near = nearest(str(path[-1]), known)
    hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(sorted(known))}"
    return "V108", f"unknown key {dotted(path)!r}", hint


def known_keys(path: Field) -> list[str]:
    """The keys that the section at `path` takes."""
    schema = Score.model_json_schema()
    here: Any = schema
    for part in path:
        here = _section(schema, here)
        here = here.get("properties", {}).get(part) or here.get("items") or here.get("additionalProperties") or {}
    return list(_section(schema, here).get("properties", {}))


def _section(schema: dict[str, Any], here: Any) -> Any:
    """The object that a reference or a nullable field stands for."""
    for choice in here.get("anyOf", []):
        if choice.get("type") != "null":
            return _section(schema, choice)
    if "$ref" in here:
        return schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
    return here


# ---- files ----------------------------------------------------------------------------------------------------------


def _anchor(data: Any, directory: str) -> Any:
    """A copy of `data` whose paths are absolute. What is not text is left for the schema to refuse."""
    data = dict(data)
    data.setdefault("workspace", "./workspace")
    for path in _PATHS:
        _anchor_at(data, path, directory)
    return data


def _anchor_at(container: Any, path: tuple[str, ...], directory: str) -> None:
    name = path[0]
    if name == "*":
        keys = (
            list(container)
            if isinstance(container, dict)
            else range(len(container))
            if isinstance(container, list)
            else []
        )
    else:
        keys = [name] if isinstance(container, dict) and name in container else []
    for key in keys:
        value = container[key]
        if len(path) > 1 and isinstance(value, dict | list):
            container[key] = value = value.copy()
            _anchor_at(value, path[1:], directory)
        elif len(path) == 1 and isinstance(value, str) and value and "\0" not in value and not value.startswith("{"):
            container[key] = os.path.normpath(os.path.join(directory, os.path.expanduser(value)))


def _read_files(score: Score, document: Document) -> list[Problem]:
    """Fill the template from its file; say which files cannot be read."""
    problems = []
    if score.prompt.template_file is not None:
        text, why = _read_text(score.prompt.template_file)
        score.prompt.template = text
        if why:
            message = f"cannot read the template {score.prompt.template_file}: {why}"
            problems.append(document.problem("V003", ERROR, ("prompt", "template_file"), message, _HINT_ANCHOR))
    for field_path, path in _system_prompts(score):
        _, why = _read_text(path)
        if why:
            message = f"cannot read the system prompt {path}: {why}"
            problems.append(document.problem("V004", ERROR, field_path, message, _HINT_ANCHOR))
    return problems


_HINT_ANCHOR = "relative paths start at the score's own directory"


def _system_prompts(score: Score) -> Iterator[tuple[Field, str]]:
    if score.backend.system_prompt_file is not None:
        yield ("backend", "system_prompt_file"), score.backend.system_prompt_file
    for n, override in score.sheet.backends.items():
        if override.system_prompt_file is not None:
            yield ("sheet", "backends", n, "system_prompt_file"), override.system_prompt_file


def _read_text(path: str) -> tuple[str | None, str]:
    """The file's text, or why there is none."""
    try:
        if not os.path.isfile(path):
            return None, "it is a directory" if os.path.isdir(path) else "it does not exist"
        if os.path.getsize(path) > MAX_BYTES:
            return None, f"it is larger than {MAX_BYTES >> 20} MiB"
        with open(path, encoding="utf-8") as file:
            return file.read(), ""
    except UnicodeDecodeError:
        return None, "it is not UTF-8 text"
    except OSError as error:
        return None, error.strerror or str(error)
