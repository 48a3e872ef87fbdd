"""What a change of settings needs, and what in the file is not in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipc.errors import MozartError
from ipc.paths import find_paths
from mozartd.changes import InForce, Need, compare, is_replaced, need
from mozartd.launch import Launch
from mozartd.settings import Settings, load_settings, overruled


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def launch(config: Path, tmp_path: Path) -> Launch:
    return Launch(
        find_paths({"MOZART_HOME": str(tmp_path)}),
        lambda: load_settings(str(config), overrides={"workers": 7}),
        lambda handover, is_trial: [],
        overruled=lambda settings: overruled(str(config), settings, {"workers": "--workers 7 of the start"}),
    )


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("workers", Need.NOBODY),
        ("worker_slots", Need.WORKERS),
        ("mask_patterns", Need.WORKERS),
        ("history_jobs", Need.COORDINATOR),
        ("socket_mode", Need.COORDINATOR),
        ("log_level", Need.EVERYBODY),
    ],
)
def test_each_setting_needs_who_was_started_with_it(name: str, needed: Need) -> None:
    assert need(name) is needed
    assert is_replaced("coordinator", [needed]) is (needed in (Need.COORDINATOR, Need.EVERYBODY))
    assert is_replaced("worker", [needed]) is (needed in (Need.WORKERS, Need.EVERYBODY))


def test_every_setting_that_is_listed_exists() -> None:
    assert {*Settings.WORKER_FIELDS, *Settings.SUPERVISOR_FIELDS} <= set(Settings.model_fields)
    assert set(Settings.SHARED_FIELDS) <= set(Settings.WORKER_FIELDS)


def test_what_changed_is_named() -> None:
    before = Settings()
    assert compare(before, before) == {}
    after = before.model_copy(update={"workers": 9, "history_jobs": 1})
    assert compare(before, after) == {"workers": Need.NOBODY, "history_jobs": Need.COORDINATOR}


def test_a_file_of_prices_is_read_again_each_time() -> None:
    priced = Settings().model_copy(update={"prices": "/prices.yaml"})
    assert compare(priced, priced) == {"prices": Need.COORDINATOR}


def test_one_goes_back_to_what_was_proven_and_to_nothing_else(launch: Launch, config: Path) -> None:
    force = InForce(Settings(), launch)
    config.write_text("history_jobs: 5")
    force.reload()
    assert force.go_back() == {}, "nothing was ever proven"
    force.prove()
    assert force.go_back() == {}, "it is in force"
    for jobs in (6, 7):
        config.write_text(f"history_jobs: {jobs}")
        force.reload()
    assert force.go_back() == {"history_jobs": Need.COORDINATOR}
    assert force.settings.history_jobs == 5


def test_settings_that_are_wrong_change_nothing(launch: Launch, config: Path) -> None:
    force = InForce(Settings(), launch)
    config.write_text("history_jobs: none")
    with pytest.raises(MozartError):
        force.reload()
    assert force.settings == Settings()


def test_what_is_in_the_file_and_not_in_force_is_said(
    launch: Launch, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOZART_HISTORY_JOBS", "3")
    monkeypatch.setenv("MOZART_LOG_LEVEL", "debug")
    config.write_text("history_jobs: 4\nlog_level: debug\nworkers: 5\n")
    _, ignored = InForce(Settings(), launch).reload()
    assert ignored == {
        "history_jobs": "MOZART_HISTORY_JOBS in the daemon's environment",
        "workers": "--workers 7 of the start",
    }
