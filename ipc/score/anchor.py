"""Where relative paths start: at the score's own directory. The one place that knows which fields are paths.

Pure but for `~`, which is the user's home. `load` calls it before the fields are validated.
"""

from __future__ import annotations

import os
from typing import Any

#: Fields that hold a path, by section; relative ones are anchored. Templated ones (they begin with a brace) stay.
PATHS: tuple[tuple[str, ...], ...] = (
    ("workspace",),
    ("state_path",),
    ("backend", "system_prompt_file"),
    ("backend", "working_directory"),
    ("prompt", "template_file"),
    ("backend", "fallbacks", "*", "system_prompt_file"),
    ("backend", "fallbacks", "*", "working_directory"),
    ("sheet", "backends", "*", "system_prompt_file"),
    ("sheet", "backends", "*", "working_directory"),
    ("sheet", "backends", "*", "fallbacks", "*", "system_prompt_file"),
    ("sheet", "backends", "*", "fallbacks", "*", "working_directory"),
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


def absolute(path: str) -> str:
    """As the kernel reads it: `..` leads out of where a link leads to, not out of where the link is."""
    path = os.path.join(os.getcwd() if not path.startswith("/") else "/", path)
    before, dots, rest = f"{path}/".rpartition("/../")
    return os.path.normpath(os.path.join(os.path.realpath(f"{before}/.."), rest)) if dots else os.path.normpath(path)


def anchor(data: Any, directory: str) -> Any:
    """A copy of `data` whose paths are absolute. What is not text is left for the schema to refuse."""
    data = dict(data)
    data.setdefault("workspace", "./workspace")
    for path in PATHS:
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
            container[key] = absolute(os.path.join(directory, os.path.expanduser(value)))
