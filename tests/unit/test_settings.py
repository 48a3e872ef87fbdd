"""Settings: where they come from, what is refused and how that is said, and that the sample file shows them all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ipc.errors import MozartError
from mozartd.settings import Settings, doubts, load_settings
from tests import ROOT

SAMPLE = ROOT / "deploy" / "config.yaml"


@pytest.fixture
def write(tmp_path: Path):
    """`write(text)`: the settings that a file with this text gives."""

    def load(text: str) -> Settings:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load_settings(str(path))

    return load


def refusal(write, text: str) -> MozartError:
    with pytest.raises(MozartError) as caught:
        write(text)
    assert caught.value.exit_code == 2
    assert "config.yaml" in caught.value.message
    return caught.value


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    assert load_settings(str(tmp_path / "none.yaml")) == Settings()


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(MozartError, match=r"cannot read .*none\.yaml: there is no such file"):
        load_settings(str(tmp_path / "none.yaml"), must_exist=True)


def test_the_file_is_read(write) -> None:
    settings = write(
        "workers: 3\nsubmit_env: [PATH, MY_*]\nmask_patterns: ['tok-[0-9]+']\nmetrics_address: 127.0.0.1:9464"
    )
    assert settings.workers == 3
    assert settings.submit_env == ["PATH", "MY_*"]
    assert settings.mask_patterns == ["tok-[0-9]+"]
    assert settings.metrics_address == "127.0.0.1:9464"


def test_the_command_line_wins(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("workers: 3")
    assert load_settings(str(path), overrides={"workers": 5}).workers == 5


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_all_right(write, text: str) -> None:
    assert write(text) == Settings()


@pytest.mark.parametrize("written", ["0660", "'0660'", "0o660", "'660'"])
def test_a_mode_is_octal_however_it_is_written(write, written: str) -> None:
    assert write(f"socket_mode: {written}").socket_mode == 0o660


@pytest.mark.parametrize(
    ("text", "line", "key", "hint"),
    [
        ("workers: 1\nworkrs: 3", 2, "workrs", "did you mean workers?"),
        ("workers: 1\nworkers: 3", 2, "workers", "remove one of the two"),
        ("\nworkers: many", 2, "workers", "Worker processes"),
        ("workers: 0", 1, "workers", "Worker processes"),
        ("socket_mode: 660", 1, "socket_mode", "0600"),
        ("socket_mode: 0777", 1, "socket_mode", "0600"),
        ("log_level: loud", 1, "log_level", "The level"),
        ("metrics_address: 9464", 1, "metrics_address", "127.0.0.1:9464"),
        ("metrics_address: localhost", 1, "metrics_address", "127.0.0.1:9464"),
        ("mask_patterns: ['(']", 1, "mask_patterns", "Regular expressions"),
        ("submit_env: {A: 1}", 1, "submit_env", "Variables"),
        ("history_days: .nan", 1, "history_days", "How many days"),
        ("log_compress_hours: .inf", 1, "log_compress_hours", "Complete files"),
        ("budgets: [{scope: 'claude_cli/*'}]", 1, "budgets[0]", "What scopes may use"),
        ("1: 2", 1, "1", "the settings are workers"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(write, text: str, line: int, key: str, hint: str) -> None:
    error = refusal(write, text)
    assert error.message.startswith(f"cannot use the setting {key} in ")
    assert f"config.yaml:{line}:" in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    "text",
    ["- workers", "workers", "a: b: c", "workers: [", "x: !!python/object:os.system {}", "x: " + "[" * 5000, "\t"],
)
def test_what_is_no_settings_file_is_refused(write, text: str) -> None:
    refusal(write, text)


def test_a_huge_file_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for content in (b"# " + b"x" * 2_000_000, b"\xff\xfe workers"):
        path.write_bytes(content)
        with pytest.raises(MozartError, match="cannot read"):
            load_settings(str(path))


def test_a_backend_that_nobody_knows_is_doubted_but_for_a_profile(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile may also lie beside a score, so it is not refused."""
    monkeypatch.setenv("MOZART_HOME", str(tmp_path))
    settings = write(
        "backends: {claude_cli: {max_concurrent: 1}, aider: {max_concurrent: 1}, mine: {max_concurrent: 1}}\n"
        "budgets: [{scope: '*', usd: 1}, {scope: 'c*/a/*', usd: 1}, {scope: 'codex/*', usd: 1}]"
    )
    mine, codex = doubts(settings)
    assert mine == f"backends: there is no backend 'mine' and no profile of that name in {tmp_path}/backends"
    assert codex.startswith("budgets: there is no backend 'codex'")
    assert codex.endswith("; did you mean 'codex_cli'?")
    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "mine.yaml").write_text("")
    assert doubts(settings) == [codex]


def in_environment(**variables: str) -> subprocess.CompletedProcess[str]:
    """What a fresh process with these variables makes of no settings file."""
    script = "from mozartd.settings import load_settings; print(load_settings('/nonexistent'))"
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
    )


def test_the_environment_wins_and_other_variables_of_ours_are_no_settings() -> None:
    done = in_environment(
        MOZART_WORKERS="4",
        MOZART_SUBMIT_ENV="PATH,MY_*",
        MOZART_SOCKET_MODE="0660",
        MOZART_METRICS_ADDRESS="null",
        MOZART_HOME="/x",
        MOZART_SOCKET="/y",
        MOZART_STATE="/z",
    )
    assert "workers=4" in done.stdout, done.stderr
    assert "submit_env=['PATH', 'MY_*']" in done.stdout
    assert f"socket_mode={0o660}" in done.stdout
    assert "metrics_address=None" in done.stdout


def test_a_wrong_variable_is_named() -> None:
    assert "cannot use MOZART_WORKERS from the environment" in in_environment(MOZART_WORKERS="many").stderr


def test_every_setting_says_what_it_does() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_every_setting_is_read_by_somebody() -> None:
    sources = [path.read_text() for path in (ROOT / "mozartd").rglob("*.py") if path.name != "settings.py"]
    unread = [name for name in Settings.model_fields if not any(re.search(rf"settings\.{name}\b", s) for s in sources)]
    assert not unread


def test_the_sample_shows_every_setting_with_its_default_and_what_it_does() -> None:
    text = SAMPLE.read_text()
    shown = yaml.safe_load(re.sub(r"(?m)^#(?=[a-z_]+:|  - )", "", text))
    assert list(shown) == list(Settings.model_fields), "the same settings in the same order"
    assert Settings(**shown) == Settings()
    prose = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    for name, field in Settings.model_fields.items():
        assert str(field.description) in prose, name


def test_the_sample_as_it_stands_sets_nothing() -> None:
    assert yaml.safe_load(SAMPLE.read_text()) is None


def test_D10_every_mistake_is_named_with_its_line_and_the_nearest_name(write) -> None:
    text = """admission: {laod: 3}
workers: 0
budgets:
  - scope: a
    usdd: 4
  - {usd: many}
socket_mode: 0777
log_level: loud
"""
    said = refusal(write, text).message
    expected = [
        (1, "admission.laod", "unknown setting", "did you mean load?"),
        (2, "workers", "must be at least 1; found 0", "workers: Worker processes."),
        (5, "budgets[0].usdd", "unknown setting", "did you mean usd?"),
        (6, "budgets[1].usd", "must be a number; found many", "budgets: What"),
        (7, "socket_mode", "only 0600 and 0660 make sense; found 0777", "socket_mode: Mode"),
        (8, "log_level", "must be one of 'debug', 'info', 'warning' or 'error'; found loud", "log_level: The"),
    ]
    lines = said.splitlines()
    assert len(lines) == 2 * len(expected), said
    for (line, key, reason, hint), sentence, hinted in zip(expected, lines[::2], lines[1::2], strict=True):
        assert sentence.startswith(f"cannot use the setting {key} in ")
        assert sentence.endswith(f"config.yaml:{line}: {reason}")
        assert hinted.startswith(f"  hint: {hint}")


@pytest.mark.parametrize("text", ["admission:\n  load: 3\n  load: 4", "budgets: [{usd: 1, usd: 2}]"])
def test_D10_a_key_given_twice_is_refused_at_any_depth(write, text: str) -> None:
    assert "duplicate key (first on line" in refusal(write, text).message


def test_D10_a_variable_that_is_not_json_is_named() -> None:
    said = in_environment(MOZART_BACKENDS="{").stderr
    assert "cannot use MOZART_BACKENDS from the environment: it is not JSON" in said
