"""`--fresh`: what earlier jobs left in a workspace moves to its archive, and the oldest archives go.

Touches nothing outside the workspace, however the archive's name or its links would have it, and removes only what has the
mark that this daemon put there when it made it. Called in a thread by `submit`, which sees to it that nobody works there
meanwhile.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from ipc import marks
from ipc.errors import MozartError
from ipc.score.schema import Score

#: What an archive is called: how often there was one, or when. So may a folder of the user's.
_LIKE_OURS = re.compile(r"[0-9]+|[0-9]{8}T[0-9]{6}Z(-[0-9]+)?")


def archive_workspace(score: Score, job: str, maker: str, now: float) -> None:
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
            _move(workspace, old, archive, life.archive_naming, marks.Mark(maker, job, now))
            if life.max_archives:
                _drop_oldest(archive, maker, life.max_archives)
    except OSError as error:
        message = f"cannot archive {workspace} in {archive}: {error.strerror or error}"
        raise MozartError("E601", message, "make room for it there, or run without --fresh") from None


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern.removesuffix("/**"))


def _move(workspace: str, names: list[str], archive: str, naming: str, mark: marks.Mark) -> None:
    # A link that an agent left there must not lead our moving and removing elsewhere.
    if os.path.realpath(archive) != os.path.join(os.path.realpath(workspace), os.path.relpath(archive, workspace)):
        hint = "remove the link, or name another archive_dir"
        raise MozartError("E601", f"cannot archive {workspace} in {archive}: that is a link elsewhere", hint)
    os.makedirs(archive, exist_ok=True)
    target = os.path.join(archive, _name(archive, naming, mark.at))
    marks.make_marked(target, marks.ARCHIVE, mark.job, mark.maker, mark.at)
    for name in names:
        shutil.move(os.path.join(workspace, name), os.path.join(target, name))


def _name(archive: str, naming: str, now: float) -> str:
    there = set(os.listdir(archive))
    if naming == "timestamp":
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        more = (f"{name}-{number}" for number in range(2, len(there) + 3))
        return next(one for one in (name, *more) if one not in there)
    return str(max((int(name) for name in there if name.isdecimal()), default=0) + 1)


def _drop_oldest(archive: str, maker: str, keep: int) -> None:
    with _opened(archive) as parent:
        ours = [(mark.at, len(name), name) for name, mark in _archives(parent) if mark and mark.maker == maker]
        for _, _, name in sorted(ours)[:-keep]:
            shutil.rmtree(name, dir_fd=parent)


def unmarked(archive: str, maker: str, most: int) -> list[str]:
    """Folders there that are called like archives and are not this daemon's for certain: a user's, or an earlier version's."""
    try:
        with _opened(archive) as parent:
            found = (name for name, mark in _archives(parent) if not mark or mark.maker != maker)
            return [os.path.join(archive, name) for name in islice(found, most)]
    except OSError:
        return []


def _archives(parent: int) -> Iterator[tuple[str, marks.Mark | None]]:
    with os.scandir(parent) as entries:
        for entry in entries:
            if _LIKE_OURS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                yield entry.name, marks.read_mark(entry.name, marks.ARCHIVE, parent)


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
