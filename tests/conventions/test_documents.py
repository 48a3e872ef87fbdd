"""What is written down agrees with what is built: requests, settings, dependencies, the transition diagram."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from ipc.messages import METHODS, NOTIFICATIONS
from tests import ROOT
from tests.conventions.tree import parsed

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUESTS = ROOT / "mozartd" / "coordinator" / "requests"


def test_every_request_has_a_handler_and_every_file_a_request() -> None:
    import mozartd.coordinator.requests as requests

    assert set(requests._HANDLERS) == set(METHODS)
    files = {path.stem for path in REQUESTS.glob("*.py")} - {"__init__"}
    assert files == {handler.__module__.rpartition(".")[2] for handler in requests._HANDLERS.values()}


@pytest.mark.parametrize("message", METHODS + NOTIFICATIONS)
def test_every_message_is_documented_where_it_is_answered(message: str) -> None:
    path = REQUESTS / f"{message.partition('.')[0]}.py"
    documentation = ast.get_docstring(parsed(path)) or ""
    assert f"`{message}`" in documentation


def test_every_setting_is_in_the_sample_configuration() -> None:
    from mozartd.settings import Settings

    text = (ROOT / "deploy" / "config.yaml").read_text()
    missing = [field for field in Settings.model_fields if not re.search(rf"^#? ?{field}:", text, re.MULTILINE)]
    assert not missing


def test_the_sample_configuration_is_what_one_gets_without_it() -> None:
    """Every line taken out of its comment loads, and says the default."""
    from mozartd.settings import Settings

    text = (ROOT / "deploy" / "config.yaml").read_text()
    fields = "|".join(Settings.model_fields)
    sample = yaml.safe_load(re.sub(rf"^# ?(?=({fields}):|  - )", "", text, flags=re.MULTILINE)) or {}
    assert Settings(**sample) == Settings()


def test_the_diagram_is_the_table() -> None:
    diagram = subprocess.run(
        [sys.executable, "-m", "ipc.states"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
    )
    assert diagram.stdout.strip() in (ROOT / "ARCHITECTURE.md").read_text()


def test_the_table_of_exit_codes_is_the_one_that_help_shows() -> None:
    from cli.exits import BY_VERB, markdown
    from cli.verbs import VERBS

    assert tuple(BY_VERB) == VERBS
    assert "\n".join(markdown()) in (ROOT / "README.md").read_text()


def requirement_name(requirement: str) -> str:
    return re.split(r"[<>=~! ;\[]", requirement)[0].lower()


@pytest.mark.parametrize("requirement", PROJECT["project"]["dependencies"], ids=requirement_name)
def test_every_dependency_is_locked_and_has_a_reason(requirement: str) -> None:
    package = requirement_name(requirement)
    for lock in ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock"):
        assert re.search(rf"^{package}==", (ROOT / lock).read_text(), re.MULTILINE), f"not in {lock}"
    assert re.search(rf"^\|.*\b{package}\b.*\|", (ROOT / "DECISIONS.md").read_text(), re.MULTILINE), "no reason"


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.lock")), ids=lambda path: path.name)
def test_every_lock_has_a_hash_for_every_package(lock: Path) -> None:
    blocks = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert not [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block]


def test_the_version_is_said_once() -> None:
    from ipc import VERSION

    assert PROJECT["project"]["version"] == VERSION
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()


#: Words of the place where Mozart was written, put together here so that this file does not hold them.
ELSEWHERE = ["/wor" + "k/main", "/wor" + "k/shared", "/tmp/" + "venv", "/opt/" + "pypi", "/tmp/" + "brief"]


def test_nothing_names_the_place_where_it_was_written() -> None:
    skipped = {".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "build", "dist"}
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in skipped and not name.startswith((".venv", "workspace"))]
        for path in (Path(folder, name) for name in names):
            text = path.read_bytes()
            found += [f"{path}: {word}" for word in ELSEWHERE if word.encode() in text]
    assert not found


@pytest.mark.parametrize("path", [".ci/run", "tests/fakes/agent", "tests/fakes/model_apis.py"])
def test_what_is_run_can_be_run(path: str) -> None:
    assert os.access(ROOT / path, os.X_OK)
    assert (ROOT / path).read_bytes().startswith(b"#!")
