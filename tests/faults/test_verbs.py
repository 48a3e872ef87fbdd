"""Verbs as people type them: several jobs at once, a job by its workspace, hints that work when typed, what `list` tells."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import run
from tests.process.daemon import Daemon

Score = Callable[..., Path]
#: A command line in this process, as `mozart` runs it: exit code, stdout, stderr.
Mozart = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mozart(calm_daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Mozart:
    for name, value in calm_daemon.environment.items():
        monkeypatch.setenv(name, value)

    def call(*words: str | Path) -> tuple[int, str, str]:
        code = run([str(word) for word in words])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


@pytest.mark.parametrize("ended", ["completed", "failed", "cancelled"])
def test_D08_the_hint_about_a_job_that_has_ended_works(
    calm_daemon: Daemon, mozart: Mozart, score: Score, ended: str
) -> None:
    script, rules = ("exit 3" if ended == "failed" else "say x"), [{"type": "command_succeeds", "command": "true"}]
    path = score(script, validations=[] if ended == "failed" else rules, retry={"max_retries": 0})
    job = calm_daemon.run(path, *(["--at", "+1h"] if ended == "cancelled" else []))
    if ended == "cancelled":
        calm_daemon.request("cancel", job=job)
    assert calm_daemon.wait(job)["state"] == ended
    code, _, said = mozart("pause", job)
    assert code == 1
    assert f"cannot pause {job}: it is already {ended}" in said
    hint = said.partition("`mozart ")[2].partition("`")[0]
    assert mozart(*shlex.split(hint))[0] == 0, hint
