"""A worker's connection, and its own end: what it tells, what it outlives, what it takes along."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from ipc.setup import DRAIN_SIGNAL, EXIT_OK, EXIT_ORPHANED
from tests.process.daemon import is_alive, wait_until
from tests.process.worker import Peer, seconds_taken

# ---- the connection -------------------------------------------------------------------------------------------------


def test_a_lost_coordinator_disturbs_no_agent(peer: Peer) -> None:
    gate = peer.workspace("gate")
    os.mkfifo(gate)
    attempt = peer.assign("say before\ngate gate\nsay after", watched=True)
    agent = peer.until("started", attempt)["agent_pid"]
    peer.until_said(attempt)
    peer.hang_up()
    (running,) = peer.accept()["running"]
    assert (running["attempt"], running["agent_pid"], running["bytes"]) == (attempt, agent, 7)
    peer.hang_up()
    with open(gate, "w"):
        wait_until(lambda: not is_alive(agent))
    back = peer.accept()
    # It may be here again before it has seen the agent's end.
    assert {*back["unacknowledged"], *(one["attempt"] for one in back["running"])} == {attempt}
    assert peer.until("finished", attempt)["verdict"] == "ok"
    assert peer.log() == [b"before", b"after"]
    # Not acknowledged, so it is said again; then no more.
    peer.hang_up()
    peer.accept()
    peer.finish(attempt)
    second = peer.assign("say second", sheet=2)
    peer.finish(second)
    peer.hang_up()
    peer.accept()
    third = peer.assign("say third", sheet=3)
    assert peer.until("finished")["attempt"] == third
    peer.ack(third)


def test_a_copy_of_an_assignment_is_harmless(peer: Peer) -> None:
    attempt = peer.assign("append count x\nsay ready\nsleep 0.2", watched=True)
    peer.until_said(attempt)
    peer.assign("append count x", sheet=1)
    first = peer.until("finished", attempt)
    peer.assign("append count x", sheet=1)
    assert peer.finish(attempt) == first
    assert peer.workspace("count").read_text() == "x\n"


def test_an_unknown_frame_is_passed_over(peer: Peer) -> None:
    peer.send({"type": "sonata", "attempt": "song-1:1:1"})
    assert peer.play("say fine")["verdict"] == "ok"
    assert "sonata" in peer.printed()


def test_growth_is_told_only_while_watched(peer: Peer) -> None:
    gate, second = peer.workspace("gate"), peer.workspace("second")
    os.mkfifo(gate)
    os.mkfifo(second)
    attempt = peer.assign("say one\ngate gate\nsay two\ngate second\nsay three")
    peer.until("started", attempt)
    wait_until(lambda: peer.log() == [b"one"])
    peer.send({"type": "watch", "attempt": attempt})
    size = peer.until("grew", attempt)["size"]
    with open(gate, "w"):
        assert peer.until("grew", attempt)["size"] > size
    peer.send({"type": "unwatch", "attempt": attempt})
    other = peer.play("say done", sheet=2)
    assert other["verdict"] == "ok"
    with open(second, "w"):
        assert peer.next()["type"] in ("progress", "finished")
    peer.ack(attempt)


def test_progress_is_told_without_being_watched(peer: Peer) -> None:
    attempt = peer.assign("flood 1000 100\nhang")
    told = peer.until("progress", attempt)
    assert (told["bytes"], told["lines"]) == (1000, 10)
    peer.cancel(attempt)
    peer.finish(attempt)


# ---- the worker's own end -------------------------------------------------------------------------------------------


def test_term_lets_agents_finish_within_their_grace(start_peer: Callable[..., Peer]) -> None:
    peer = start_peer(grace=30.0)
    gate = peer.workspace("gate")
    os.mkfifo(gate)
    attempt = peer.assign("gate gate\nsay done")
    peer.until("started", attempt)
    peer.signal(signal.SIGTERM)
    peer.until("draining")
    late = peer.assign("say late", sheet=2)
    assert peer.finish(late)["verdict"] == "interrupted"
    with open(gate, "w"):
        pass
    assert peer.finish(attempt)["verdict"] == "ok"
    assert peer.exit_code() == EXIT_OK


def test_term_interrupts_agents_after_their_grace(peer: Peer) -> None:
    attempt = peer.assign("setsid 300\nhang")
    peer.until("started", attempt)
    peer.signal(signal.SIGTERM)
    report = peer.finish(attempt)
    assert (report["verdict"], report["code"]) == ("interrupted", "E004")
    assert peer.exit_code() == EXIT_OK
    assert peer.agents() == []


@pytest.mark.parametrize("how", ["frame", "signal"])
def test_drain_waits_for_what_runs(peer: Peer, how: str) -> None:
    gate = peer.workspace("gate")
    os.mkfifo(gate)
    attempt = peer.assign("gate gate")
    peer.until("started", attempt)
    if how == "frame":
        peer.send({"type": "drain"})
    else:
        peer.signal(DRAIN_SIGNAL)
    peer.until("draining")
    with open(gate, "w"):
        pass
    assert peer.finish(attempt)["verdict"] == "ok"
    assert peer.exit_code() == EXIT_OK


def test_an_idle_worker_stops_at_once(peer: Peer) -> None:
    peer.signal(signal.SIGTERM)
    assert seconds_taken(peer.exit_code) < 2
    assert peer.exit_code() == EXIT_OK


def test_ctrl_c_is_not_for_the_worker(peer: Peer) -> None:
    peer.signal(signal.SIGINT)
    assert peer.play("say fine")["verdict"] == "ok"


def test_an_orphaned_worker_kills_its_agents_and_goes(peer: Peer) -> None:
    attempt = peer.assign("ignore TERM\nsetsid 300\nsay ready\nhang", watched=True)
    peer.until_said(attempt)
    assert len(peer.agents()) == 2
    os.kill(peer.parent, signal.SIGKILL)
    wait_until(lambda: not peer.agents() and not is_alive(peer.pid))


def test_an_orphaned_worker_says_so(peer: Peer) -> None:
    peer.cut_lifeline()
    assert peer.exit_code() == EXIT_ORPHANED


def test_the_loop_beats(start_peer: Callable[..., Peer]) -> None:
    peer = start_peer(beat=0.05)
    liveness = peer.home / "liveness"
    first = liveness.stat().st_mtime_ns
    wait_until(lambda: liveness.stat().st_mtime_ns > first)
