"""Whose variables reach whom: what git sets for its children and nobody means to hand on, what `submit_env` names.

Pure, and about names alone. The daemon asks when it starts, a client when it submits; both must agree on what a name in
`submit_env` stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

#: What `git rev-parse --local-env-vars` prints, of every version: which repository, which index, which configuration.
_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS",
    "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_REF_STORAGE_FORMAT",
    "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
)  # fmt: skip
#: What it sets beside those for one command of its own: who commits, with which editor, in the course of what.
_COMMAND = (
    "GIT_AUTHOR_DATE", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_NAME", "GIT_CHERRY_PICK_HELP", "GIT_COMMITTER_DATE",
    "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_NAME", "GIT_EDITOR", "GIT_EXEC_PATH", "GIT_INTERNAL_GETTEXT_SH_SCHEME",
    "GIT_MERGE_AUTOEDIT", "GIT_PUSH_OPTION_COUNT", "GIT_REFLOG_ACTION", "GIT_SEQUENCE_EDITOR",
)  # fmt: skip
_OF_GIT = frozenset(_REPOSITORY + _COMMAND)
_NUMBERED = re.compile(r"(GIT_CONFIG_(KEY|VALUE)|GIT_PUSH_OPTION)_[0-9]+|GITHEAD_[0-9a-f]+")
#: Only git's own children have any of these: a hook, an alias, `rebase --exec`.
_SIGNS = frozenset(
    {"GIT_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
     "GIT_QUARANTINE_PATH"}
)  # fmt: skip

#: A name, or the beginning of some: what means everybody's variables names nobody's.
_NAMED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[A-Za-z_][A-Za-z0-9_]+\*")


def left_by_git(env: Mapping[str, str], pid: int) -> set[str]:
    """The names in `env` that a hook of git's hands on to what it starts. Of process `pid`, none when a service manager started
    that: what a unit sets is meant."""
    is_unit = env.get("SYSTEMD_EXEC_PID") == str(pid) or "NOTIFY_SOCKET" in env
    if is_unit or not _SIGNS.intersection(env):
        return set()
    return {name for name in env if name in _OF_GIT or _NUMBERED.fullmatch(name)}


def without_git(env: Mapping[str, str], pid: int) -> dict[str, str]:
    left = left_by_git(env, pid)
    return {name: value for name, value in env.items() if name not in left}


def is_named(name: str, patterns: Iterable[str]) -> bool:
    """Whether the setting `submit_env` names this variable."""
    return any(_matches(name, pattern) for pattern in patterns if _NAMED.fullmatch(pattern))


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def names_nothing(patterns: Iterable[str]) -> list[str]:
    """Those of `submit_env` that are neither a name nor the beginning of names."""
    return [pattern for pattern in patterns if not _NAMED.fullmatch(pattern)]
