"""Rows of part C once more, by somebody who had not seen how they were mended: helpers that die or stand still, settings that
hang, a home that moves."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.daemon import Daemon, children_of, title_of, wait_until, works_of
from tests.process.worker import Peer

#: On 60 underscores and another letter, `re` is busy for hours.
HOSTILE = r"^(\w\w|\w)+$"
#: Busy for a moment, and no longer.
SLOW_TEXT = {"type": "content_regex", "path": "text", "pattern": r"^(\w\w|\w)+$"}


def helpers_of(pid: int) -> list[int]:
    return [child for child in children_of(pid) if title_of(child) == "mozart-helper"]


# ---- C3, C5, C17: who does the work for others dies, or stands still -------------------------------------------------


def in_background(work: Callable[[], object]) -> list[object]:
    """What it gave, once it has."""
    done: list[object] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:
            done.append(error)

    threading.Thread(target=run, daemon=True).start()
    return done


@pytest.mark.parametrize("who", ["server", "work"])
def test_C03_work_whose_process_is_killed_is_begun_again(who: str) -> None:
    from ipc.forkserver import Bounds, ForkServer

    server = ForkServer()
    try:
        done = in_background(lambda: server.call(Bounds(10.0), time.sleep, 1.0))
        first = server.pid
        work = wait_until(lambda: children_of(first))[0]
        os.kill(first if who == "server" else work, signal.SIGKILL)
        assert wait_until(lambda: done) == [None]
    finally:
        server.close()


def test_C03_work_that_is_killed_whenever_it_begins_is_the_machines_fault() -> None:
    from ipc.errors import MACHINE_CODES, MozartError
    from ipc.forkserver import Bounds, ForkServer

    server = ForkServer()
    try:
        with pytest.raises(MozartError) as caught:
            server.call(Bounds(5.0), kill_myself)
        assert caught.value.code in MACHINE_CODES
        assert server.call(Bounds(5.0), len, "still there") == 11
    finally:
        server.close()


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("who", ["server", "work"])
def test_C17_work_that_stood_still_has_not_taken_too_long(who: str) -> None:
    from ipc.forkserver import Bounds, ForkServer

    server = ForkServer(patience=0.5)
    try:
        done = in_background(lambda: server.call(Bounds(1.0), time.sleep, 0.8))
        first = server.pid
        work = wait_until(lambda: children_of(first))[0]
        os.kill(first if who == "server" else work, signal.SIGSTOP)
        assert wait_until(lambda: done) == [None]
        assert server.call(Bounds(1.0), len, "still there") == 11
    finally:
        server.close()


def test_C03_a_thread_that_ends_takes_no_fork_server_along() -> None:
    from ipc.forkserver import Bounds, ForkServer

    server = ForkServer()
    try:
        os.kill(server.pid, signal.SIGKILL)
        thread = threading.Thread(target=server.call, args=(Bounds(5.0), len, "begun anew"))
        thread.start()
        thread.join()
        begun = server.pid
        assert server.call(Bounds(5.0), time.sleep, 0.05) is None
        assert server.pid == begun
    finally:
        server.close()


def test_C03_a_rule_whose_helper_is_killed_or_stopped_is_judged_all_the_same(peer: Peer) -> None:
    peer.workspace("text").write_text("_" * 27 + "!\n" + "fine")
    for number, kill in enumerate((signal.SIGKILL, signal.SIGKILL), 1):
        attempt = peer.assign("say done", sheet=number, validations=[SLOW_TEXT])
        work = wait_until(lambda: works_of(peer.pid))[0]
        os.kill(helpers_of(peer.pid)[0] if number == 1 else work, kill)
        report = peer.finish(attempt)
        assert report["validations"][0]["code"] == "E202", report
    wait_until(lambda: not works_of(peer.pid))


# ---- C3, C23: the setting mask_patterns ------------------------------------------------------------------------------


def test_C23_a_mask_pattern_takes_time_in_proportion_to_what_an_agent_prints() -> None:
    from workers.mask import Mask

    baits = [b"_" * 60_000 + b"!", b"aab" * 20_000 + b"!", b"key=" * 15_000 + b"!", b"1@" * 30_000 + b"!"]
    for pattern in (
        HOSTILE,
        r"(a+)+$",
        r"(a|aa)+b$",
        r"[a-z]+@corp",
        r"(\w+\s?)+#",
        r"(?<=key=)\S+",
        r"x*",
        r"key=.*;",
    ):
        mask = Mask([pattern])
        for bait in baits:
            started = time.process_time()
            mask.apply(bait + b"\naaaa@corp #aab ____ key=x;\n")
            assert time.process_time() - started < 1, (pattern, bait[:9])


def test_C23_what_a_mask_pattern_masks_is_what_it_matches() -> None:
    from workers.mask import Mask

    text = b"use tok-12 or secret=abc; and key=xyz for joe@corp, not corp\n"
    for pattern, masked in [
        (r"tok-[0-9]+", b"tok-12"),
        (r"(?<=key=)\w+", b"xyz"),
        (r"([a-z]+)+@corp\b", b"joe@corp"),
        (r"(?:se|cret)+=\w+;", b"secret=abc;"),
    ]:
        assert Mask([pattern]).apply(text) == text.replace(masked, b"[masked:pattern]"), pattern


def test_C23_a_mask_pattern_that_nobody_can_look_for_in_time_is_refused() -> None:
    from ipc.errors import MozartError
    from workers.mask import Mask

    for pattern in (r"((\w+)\s?)+\2#", r"(?=(a+)+$)a", r"(?<!x)(a+)+b"):
        with pytest.raises(MozartError, match="may take for ever") as caught:
            Mask([pattern])
        assert "bound its repetitions" in caught.value.hint


# ---- E3: the same key, the same answer -------------------------------------------------------------------------------


def test_E03_a_submission_with_a_warning_is_answered_the_same_twice(
    calm_daemon: Daemon, score: Callable[..., Path]
) -> None:
    from ipc.score.load import load_score

    first = calm_daemon.run(score("hang", name="first"))
    document = load_score(str(score("hang", name="second"))).score.model_dump(mode="json")
    given = {"score": document, "path": "/s.yaml", "environment": {}, "known": {}, "key": os.urandom(8).hex()}
    answers = [calm_daemon.request("submit", **given) for _ in range(2)]
    assert answers[0] == answers[1]
    assert f"is in use by {first}" in answers[0]["warnings"][0]


# ---- C9: removed, or moved, under it ---------------------------------------------------------------------------------


def test_C09_a_new_coordinators_database_is_no_lost_one(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon(workers=1)
    for path in (daemon.home / "state").glob("mozart.db*"):
        path.unlink()
    wait_until(lambda: "mozart.db was removed" in str(daemon.status().get("reason")))
    daemon.kill("coordinator")
    wait_until(daemon.is_ready)
    assert not daemon.status().get("reason")


def test_C09_a_daemon_whose_home_was_moved_ends_with_its_coordinator_and_goes_on_there(
    cold: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    cold.start(by_command=True)
    job = cold.run(score("attempt 1: say begun\nattempt 1: hang\nsay done"))
    cold.wait_for(job, "attempt.started")
    pid, moved = cold.pid("coordinator"), Path(f"{cold.home}.moved")
    cold.home.rename(moved)
    try:
        os.kill(pid, signal.SIGKILL)
        assert cold.process
        assert cold.process.wait(30) == 0
        assert not cold.home.exists(), "nothing is begun anew where it was"
        assert f"was moved to {moved}/state" in (moved / "output").read_text()
    finally:
        moved.rename(cold.home)
    cold.start(by_command=True)
    assert cold.wait(job)["state"] == "completed"
    cold.stop()
