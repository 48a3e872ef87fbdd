"""What `--fresh` moves away and removes: what lies in the workspace, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ipc import marks
from ipc.errors import MozartError
from ipc.score.schema import Score
from mozartd.coordinator.archive import archive_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return workspace


def archive(workspace: Path, now: float = 0.0, **life: Any) -> None:
    archive_workspace(make_score(workspace, **life), "song-1", "me", now)


def make_score(workspace: Path, **life: Any) -> Score:
    return Score.model_validate(
        {
            "name": "song", "workspace": str(workspace), "backend": {"type": "command", "command": ["true"]},
            "sheet": {"size": 1, "total_items": 1}, "prompt": {"template": "x"},
            "workspace_lifecycle": {"archive_on_fresh": True, **life},
        }
    )  # fmt: skip


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()} - {
        str(path.relative_to(directory)) for path in directory.rglob(marks.ARCHIVE)
    }


def test_what_earlier_jobs_left_moves_but_for_what_is_preserved(workspace: Path) -> None:
    for name in ("one.txt", ".iteration", "two.txt"):
        (workspace / name).touch()
    archive(workspace)
    (workspace / "one.txt").touch()
    archive(workspace)
    archive(workspace)
    assert tree(workspace) == {".iteration", "archive/1/one.txt", "archive/1/two.txt", "archive/2/one.txt"}


def test_two_archives_of_one_second_have_names_of_their_own(workspace: Path) -> None:
    for _ in range(2):
        (workspace / "one.txt").touch()
        archive(workspace, archive_naming="timestamp", archive_dir="old/runs")
    assert tree(workspace) == {"old/runs/19700101T000000Z/one.txt", "old/runs/19700101T000000Z-2/one.txt"}


def test_only_archives_of_our_own_are_removed(workspace: Path) -> None:
    (workspace / "archive" / "iteration-7").mkdir(parents=True)
    (workspace / "archive" / "iteration-7" / "notes").touch()
    for n in range(1, 4):
        (workspace / "one.txt").touch()
        archive(workspace, float(n), max_archives=1)
    assert tree(workspace) == {"archive/iteration-7/notes", "archive/3/one.txt"}


@pytest.mark.parametrize("folder", ["..", "../mine", "/mine", "a/../../mine", ".", ""])
def test_an_archive_outside_the_workspace_is_no_archive(workspace: Path, folder: str) -> None:
    with pytest.raises(ValidationError, match="inside the workspace"):
        make_score(workspace, archive_dir=folder)


def test_a_link_that_an_agent_left_leads_nowhere(workspace: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "1").mkdir()
    (mine / "1" / "letters").touch()
    (workspace / "archive").symlink_to(mine)
    (workspace / "one.txt").touch()
    with pytest.raises(MozartError, match="a link elsewhere"):
        archive(workspace, max_archives=1)
    assert tree(mine) == {"1/letters"}
    assert (workspace / "one.txt").exists()


def test_an_archive_that_cannot_be_is_said(workspace: Path) -> None:
    (workspace / "archive").touch()
    (workspace / "one.txt").touch()
    with pytest.raises(MozartError, match=r"cannot archive .*: File exists") as caught:
        archive(workspace)
    assert (caught.value.code, bool(caught.value.hint)) == ("E601", True)
