"""A16, E10: nothing that an attempt started outlives it, and nothing starts beside what is left of the one before."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.asking import ended, outcome, submit
from tests.process.daemon import Daemon, is_alive, wait_until
from tests.process.worker import Peer

Score = Callable[..., Path]

#: Ways of a process to get away; `hide` is a script that tells its pid in a file and stays.
WAYS = {
    "twice": "env -i setsid sh -c 'env -i setsid sh {hide} &'",
    "in the background": "(env -i setsid sh -c '(setsid sh {hide} &)' &)",
    "another's mark": "env -i MOZART_STATE=$MOZART_STATE MOZART_ATTEMPT_ID=song-1:1:1 setsid -f sh {hide}",
}


def hiding(peer: Peer, way: str, out: Path) -> str:
    """A command that has got a process away; its pid is in `out`."""
    hide = out.with_suffix(".sh")
    hide.write_text(f"echo $$ >{out}; exec sleep 300\n")
    return f"{WAYS[way].format(hide=hide)}; while ! test -s {out}; do sleep 0.01; done"


def pid_in(path: Path) -> int:
    return int(wait_until(lambda: path.exists() and path.read_text().split())[0])


@pytest.mark.parametrize("way", WAYS)
def test_A16_what_sheds_all_marks_dies_with_its_attempt_while_another_runs(peer: Peer, way: str) -> None:
    other = peer.assign("say ready\nhang", sheet=1, watched=True)
    peer.until_said(other)
    out = peer.workspace("pid")
    report = peer.play(backend={"command": hiding(peer, way, out)}, sheet=2)
    assert (report["verdict"], report["survivors"]) == ("ok", 0)
    assert not is_alive(pid_in(out))
    assert len(peer.agents()) == 1, "the other one"
    peer.cancel(other)
    peer.finish(other)


def test_A16_what_a_cancelled_attempt_hid_dies_and_the_others_hidden_lives(peer: Peer) -> None:
    first, second = peer.workspace("first"), peer.workspace("second")
    attempts = []
    for sheet, out in ((1, first), (2, second)):
        command = f"{hiding(peer, 'twice', out)}; sleep 300"
        attempts.append(peer.assign(backend={"command": command}, sheet=sheet, watched=True))
    pids = [pid_in(first), pid_in(second)]
    peer.cancel(attempts[0])
    peer.finish(attempts[0])
    assert [is_alive(pid) for pid in pids] == [False, True]
    peer.cancel(attempts[1])
    peer.finish(attempts[1])
    assert not is_alive(pids[1])


def test_A16_what_the_settings_keep_is_left_and_named(
    start_daemon: Callable[..., Daemon], score: Score, tmp_path: Path
) -> None:
    daemon = start_daemon({"keep": ["mz-kept"]}, workers=1)
    program, out = tmp_path / "mz-kept", tmp_path / "pid"
    shutil.copy(shutil.which("sleep") or "", program)
    command = f"env -i setsid sh -c 'echo $$ >{out}; exec {program} 300' & while ! test -s {out}; do sleep 0.01; done"
    found = outcome(daemon, ended(daemon, submit(daemon, score("x", backend={"command": command})))["id"])
    kept = pid_in(out)
    try:
        assert found["state"] == "completed"
        assert f"mz-kept ({kept})" in found["sheets"][1]["attempts"][0]["message"]
        daemon.kill("worker")
        wait_until(daemon.is_ready)
        assert daemon.stop() == 0
        assert is_alive(kept)
    finally:
        os.kill(kept, signal.SIGKILL)


def test_E10_nothing_starts_before_all_of_the_attempt_before_is_gone(
    start_daemon: Callable[..., Daemon], score: Score, tmp_path: Path
) -> None:
    daemon = start_daemon(workers=1)
    workspace = tmp_path / "workspace"
    script = """
        cat >/dev/null
        cd "$MOZART_WORKSPACE"
        exec 9>lock
        flock -n 9 || echo clash >>clashes
        test "$MOZART_ATTEMPT" = 1 || exit 0
        i=0; while test $i -lt 75; do sleep 300 & env -i setsid sleep 300 & i=$((i+1)); done
        touch started; wait
    """
    job = submit(daemon, score("x", backend={"command": ["sh", "-c", script]}))
    wait_until((workspace / "started").exists)
    daemon.kill("worker")
    found: dict[str, Any] = outcome(daemon, ended(daemon, job)["id"])
    assert found["state"] == "completed"
    assert len(found["sheets"][1]["attempts"]) == 2
    assert not (workspace / "clashes").exists()
