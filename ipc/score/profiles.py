"""Where the profile that a score names is found: beside the score, in the user's configuration, or shipped.

Called by `load`: what the file says goes into the score, so that what was submitted is what runs and nobody reads the file
again. What a profile's keys mean is `backends.profile`'s business, and the shipped ones are known there by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ipc.paths import find_paths
from ipc.score.document import Document, read_document
from ipc.score.problems import ERROR, WARNING, Field, Problem, ScoreError, nearest
from ipc.score.schema import BACKENDS, SHIPPED_PROFILES, Score


def directories(score_path: str) -> tuple[str, str]:
    """Where profiles may be, the nearest first."""
    try:
        beside = os.path.dirname(os.path.abspath(score_path))
    except FileNotFoundError:  # the working directory was deleted: there is nothing in it
        beside = os.path.dirname(score_path)
    project = os.path.join(beside, ".mozart", "backends")
    return project, os.path.join(os.path.dirname(find_paths().config), "backends")


def take_profiles(score: Score, document: Document) -> Iterator[Problem]:
    """Put into each backend section that names a profile what its file says; a name without one is an error."""
    read: dict[str, Any] = {}
    for path, section in score.backend_sections():
        name = section.type
        if name in BACKENDS or section.profile is not None or "type" not in section.model_fields_set:
            continue
        if name not in read:
            file = _find(name, document.path)
            try:
                read[name] = read_document(file).data if file else None
            except ScoreError as error:
                yield from error.problems
                continue
            if file and name in SHIPPED_PROFILES and file.startswith(directories(document.path)[0]):
                yield document.problem(
                    "V230", WARNING, (*path, "type"), f"{name} is {file} here, not the one that is shipped"
                )
        if read[name] is not None:
            section.profile = read[name]
        elif name not in SHIPPED_PROFILES:
            yield _unknown(name, (*path, "type"), document)


def _find(name: str, score_path: str) -> str:
    for directory in directories(score_path):
        file = os.path.join(directory, f"{name}.yaml")
        if os.path.lexists(file):
            return file
    return ""


def _unknown(name: str, path: Field, document: Document) -> Problem:
    project, user = directories(document.path)
    near = nearest(name, [*BACKENDS, *SHIPPED_PROFILES, *names(project), *names(user)])
    hint = f"did you mean {near!r}?" if near else f"write its profile: {os.path.join(user, name)}.yaml"
    return document.problem("E301", ERROR, path, f"there is no backend {name!r} and no profile of that name", hint)


def names(directory: str) -> list[str]:
    try:
        return [name.removesuffix(".yaml") for name in os.listdir(directory) if name.endswith(".yaml")]
    except OSError:
        return []
