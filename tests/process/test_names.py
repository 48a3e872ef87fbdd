"""A user's own packages called cli, ipc, workers and backends neither break nor hijack Mozart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.daemon import Daemon


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """A directory with packages of our names that must not be imported."""
    place = tmp_path / "strangers"
    for name in ("cli", "ipc", "workers", "backends"):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text("raise SystemExit('hijacked')\n")
    return place


def test_packages_on_pythonpath_stay_outside(cold: Daemon, score: Callable[..., Path], strangers: Path) -> None:
    cold.environment["PYTHONPATH"] = str(strangers)
    done = cold.mozart("run", score("say played"))
    assert done.returncode == 0, done.stderr
    assert "hijacked" not in done.stdout + done.stderr + cold.printed()
    assert cold.mozartd("status").returncode == 0


def test_packages_in_the_working_directory_stay_outside(
    cold: Daemon, score: Callable[..., Path], strangers: Path
) -> None:
    done = cold.mozart("run", score("say played"), cwd=strangers)
    assert done.returncode == 0, done.stderr
    assert cold.mozart("status", cwd=strangers).returncode == 0
    assert "hijacked" not in done.stdout + done.stderr + cold.printed()


def test_an_empty_entry_of_pythonpath_is_the_working_directory(
    cold: Daemon, score: Callable[..., Path], strangers: Path
) -> None:
    cold.environment["PYTHONPATH"] = ":"
    done = cold.mozart("run", score("say played"), cwd=strangers)
    assert done.returncode == 0, done.stderr
