"""`--fresh`: what earlier jobs left in a workspace moves to its archive, and the oldest archives go.

Touches nothing outside the workspace, however the archive's name or its links would have it, and removes only what it has
made itself. Called in a thread by `submit`, which sees to it that nobody works there meanwhile.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import time

from ipc.errors import MozartError
from ipc.score.schema import Score

#: What an archive is called: how often there was one, or when.
_OURS = re.compile(r"[0-9]+|[0-9]{8}T[0-9]{6}Z(-[0-9]+)?")


def archive_workspace(score: Score, now: float) -> None:
    """Does nothing unless the score says `archive_on_fresh`. Raises MozartError E601."""
    life, workspace = score.workspace_lifecycle, str(score.workspace)
    if life is None or not life.archive_on_fresh or not os.path.isdir(workspace):
        return
    archive = os.path.join(workspace, life.archive_dir)
    top = life.archive_dir.partition("/")[0]
    try:
        keep = [*life.preserve_patterns, top]
        old = [name for name in os.listdir(workspace) if not any(_matches(name, pattern) for pattern in keep)]
        if old:
            _move(workspace, old, archive, life.archive_naming, now)
            if life.max_archives:
                _drop_oldest(archive, life.max_archives)
    except OSError as error:
        message = f"cannot archive {workspace} in {archive}: {error.strerror or error}"
        raise MozartError("E601", message, "make room for it there, or run without --fresh") from None


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern.removesuffix("/**"))


def _move(workspace: str, names: list[str], archive: str, naming: str, now: float) -> None:
    # A link that an agent left there must not lead our moving and removing elsewhere.
    if os.path.realpath(archive) != os.path.join(os.path.realpath(workspace), os.path.relpath(archive, workspace)):
        hint = "remove the link, or name another archive_dir"
        raise MozartError("E601", f"cannot archive {workspace} in {archive}: that is a link elsewhere", hint)
    os.makedirs(archive, exist_ok=True)
    target = os.path.join(archive, _name(archive, naming, now))
    os.mkdir(target)
    for name in names:
        shutil.move(os.path.join(workspace, name), os.path.join(target, name))


def _name(archive: str, naming: str, now: float) -> str:
    there = set(os.listdir(archive))
    if naming == "timestamp":
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        more = (f"{name}-{number}" for number in range(2, len(there) + 3))
        return next(one for one in (name, *more) if one not in there)
    return str(max((int(name) for name in there if name.isdecimal()), default=0) + 1)


def _drop_oldest(archive: str, keep: int) -> None:
    with os.scandir(archive) as entries:
        ours = [entry for entry in entries if _OURS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
    ours.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
    for entry in ours[:-keep]:
        shutil.rmtree(entry.path)
