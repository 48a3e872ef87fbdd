"""A score on disk, from its text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipc.score.load import LoadedScore, load_score
from ipc.score.problems import Problem, ScoreError

GOOD: dict[str, Any] = {
    "name": "song",
    "backend": {"type": "command", "command": ["true"]},
    "sheet": {"size": 1, "total_items": 3},
    "prompt": {"template": "play {{ sheet_num }}"},
    "validations": [{"type": "command_succeeds", "command": "true"}],
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write("text")`, or `write(field=…)` to change a good score; None takes a field out."""

    def write(text: str | None = None, /, file: str = "song.yaml", **fields: Any) -> Path:
        if text is None:
            document = {name: value for name, value in {**GOOD, **fields}.items() if value is not None}
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        path = tmp_path / file
        path.write_text(text)
        return path

    return write


@pytest.fixture
def load(write: Write) -> Callable[..., LoadedScore]:
    def load(text: str | None = None, /, **fields: Any) -> LoadedScore:
        return load_score(str(write(text, **fields)))

    return load


@pytest.fixture
def refused(write: Write) -> Callable[..., list[Problem]]:
    """The problems of a score that cannot be loaded."""

    def refused(text: str | None = None, /, **fields: Any) -> list[Problem]:
        with pytest.raises(ScoreError) as caught:
            load_score(str(write(text, **fields)))
        assert caught.value.exit_code == 2
        return caught.value.problems

    return refused
