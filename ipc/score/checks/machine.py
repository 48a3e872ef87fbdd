"""What this machine must have: V002 the workspace's place, V005 working directories, V215 hooks' targets, V216 variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ipc.score.load import LoadedScore
from ipc.score.problems import ERROR, WARNING, Field, Problem

_REFERENCE = re.compile(r"\$\{(\w+)\}")


def workspace(loaded: LoadedScore) -> Iterator[Problem]:
    """Missing directories are made at the start; what stands in their way is an error."""
    path = loaded.score.workspace
    where: Field = ("workspace",)
    existing = _existing(path)
    if not os.path.isdir(existing):
        what = "a link to nothing" if os.path.islink(existing) and not os.path.exists(existing) else "not a directory"
        message = f"cannot use the workspace {path}: {existing} is {what}"
        yield loaded.found("V002", ERROR, where, message, "choose another with --workspace")
    elif not os.access(existing, os.W_OK | os.X_OK):
        message = f"cannot use the workspace {path}: {existing} is not writable"
        yield loaded.found("V002", ERROR, where, message, "choose another with --workspace")
    elif existing not in (path, os.path.dirname(path)):
        message = f"the directory {os.path.dirname(path)} of the workspace does not exist"
        yield loaded.found("V002", WARNING, where, message, "it will be created; check the path")


def _existing(path: str) -> str:
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def working_directories(loaded: LoadedScore) -> Iterator[Problem]:
    score = loaded.score
    found: list[tuple[Field, str | None]] = [(("backend", "working_directory"), score.backend.working_directory)]
    for n, override in score.sheet.backends.items():
        found.append((("sheet", "backends", n, "working_directory"), override.working_directory))
    for where, path in found:
        # The workspace is made before an agent starts, so an agent may well run in it.
        if path is not None and path != score.workspace and not os.path.isdir(path):
            what = "is not a directory" if os.path.exists(path) else "does not exist"
            yield loaded.found(
                "V005", ERROR, where, f"the working directory {path} {what}", "create it, or correct the path"
            )


def hook_targets(loaded: LoadedScore) -> Iterator[Problem]:
    for section in ("on_success", "on_failure_hooks"):
        for i, hook in enumerate(getattr(loaded.score, section)):
            if hook.job_path and "{" not in hook.job_path and not os.path.isfile(hook.job_path):
                message = f"the score {hook.job_path} that follows does not exist"
                hint = "relative paths start at the score's own directory"
                yield loaded.found("V215", WARNING, (section, i, "job_path"), message, hint)


def notification_secrets(loaded: LoadedScore) -> Iterator[Problem]:
    for i, notification in enumerate(loaded.score.notifications):
        for name in _needed(notification.type, notification.config):
            if name not in os.environ:
                message = (
                    f"the {notification.type} notification needs the environment variable {name}, which is not set"
                )
                yield loaded.found("V216", WARNING, ("notifications", i), message, "set it for the daemon")


def _needed(kind: str, config: Mapping[str, Any]) -> Iterator[str]:
    if kind == "slack" and not config.get("webhook_url"):
        yield str(config.get("webhook_url_env", "SLACK_WEBHOOK_URL"))
    for key, value in config.items():
        if key in ("url_env", "password_env"):
            yield str(value)
    headers = config.get("headers")
    for value in headers.values() if isinstance(headers, Mapping) else ():
        yield from _REFERENCE.findall(str(value))
