"""Row C17: one process's pause is nobody's end. Whoever was stopped or frozen is judged by the time in which it could run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.awake import GAP_SECONDS, Awake
from mozartd.liveness import Pulse
from tests import ROOT
from tests.process.daemon import Daemon, is_alive, processes_of, wait_until
from tests.process.test_supervisor import Stub
from tests.process.worker import Peer

STOPPED, READ_FIRST, SIMULATED, ASKED, NONE = (
    "stopped for longer, here", "the kernel shows what came first", "here, with a clock of ours", "asked again", "none"
)  # fmt: skip

#: Every patience in the program and how it is judged. NONE: nobody waits for somebody who could be stopped.
DEADLINES = {
    "ipc/awake.py GAP_SECONDS": SIMULATED,
    "ipc/bounds.py HALF_SECONDS": SIMULATED,
    "ipc/line.py PATIENCE": ASKED,
    "ipc/forkserver.py PATIENCE": SIMULATED,
    "workers/attempt.py USAGE_SECONDS": NONE,
    "mozartd/backoff.py SHORT_LIFE_SECONDS": NONE,
    "mozartd/backoff.py FIRST_PAUSE_SECONDS": NONE,
    "mozartd/backoff.py LONGEST_PAUSE_SECONDS": NONE,
    "mozartd/births.py STOP_MARGIN_SECONDS": STOPPED,
    "mozartd/commands.py ANSWER_SECONDS": READ_FIRST,
    "mozartd/commands.py STOP_SECONDS": READ_FIRST,
    "mozartd/commands.py CHANGE_SECONDS": READ_FIRST,
    "mozartd/commands.py FORCE_SECONDS": READ_FIRST,
    "mozartd/launch.py PATIENCE_SECONDS": READ_FIRST,
    "mozartd/lock.py STOPPING_SECONDS": READ_FIRST,
    "mozartd/lock.py LEFTOVER_SECONDS": READ_FIRST,
    "mozartd/notify.py EXEC_SECONDS": NONE,
    "mozartd/orphans.py FIRST_PAUSE_SECONDS": NONE,
    "mozartd/orphans.py LONGEST_PAUSE_SECONDS": NONE,
    "mozartd/readiness.py PATIENCE_SECONDS": ASKED,
    "mozartd/readiness.py AGAIN_SECONDS": NONE,
    "mozartd/processes.py LOOK_SECONDS": NONE,
    "mozartd/places.py SETTLE_SECONDS": NONE,
    "mozartd/supervisor.py PUT_BACK_AGAIN_SECONDS": NONE,
    "mozartd/supervisor.py LONGEST_SLEEP_SECONDS": NONE,
    "mozartd/upgrade.py PATIENCE_SECONDS": STOPPED,
    "workers/capture.py UNFINISHED_SECONDS": NONE,
    "workers/capture.py GREW_SECONDS": NONE,
    "workers/main.py PROGRESS_SECONDS": NONE,
    "workers/main.py QUIET_SECONDS": NONE,
    "workers/main.py ACK_SECONDS": READ_FIRST,
    "workers/spawn.py TOLD_SECONDS": NONE,
    "workers/stop.py KILL_SECONDS": STOPPED,
}
#: Where somebody could die of one. Elsewhere (the coordinator's turn, the terminal's frames) it makes something later.
GUARDED = ("ipc/*.py", "mozartd/*.py", "workers/*.py")


def test_C17_every_deadline_is_known_with_the_way_in_which_it_is_judged() -> None:
    found = set()
    for pattern in GUARDED:
        for path in ROOT.glob(pattern):
            names = re.findall(r"^([A-Z_]*(?:SECONDS|PATIENCE))\b.*=\s*[\d.]+$", path.read_text(), re.MULTILINE)
            found |= {f"{path.relative_to(ROOT)} {name}" for name in names}
    unknown = found - set(DEADLINES)
    assert not {name for name in unknown if not name.startswith("workers/validate")}, "judge it, and list it here"


def test_C17_a_gap_does_not_count_and_being_late_does() -> None:
    at = [100.0]
    awake = Awake(lambda: at[0])
    awake.rest(5.0)
    at[0] = 105.0 + GAP_SECONDS
    assert awake.now() == 110.0, "a busy machine"
    awake.rest(5.0)
    at[0] = 412.0
    assert awake.now() == 110.0, "it was away, and nobody knows from when on"
    assert awake.real(120.0) == 422.0
    awake.rest(5.0)
    at[0] = 414.0
    assert awake.now() == 112.0
    at[0] = 424.0
    assert awake.now(meant=418.0) == 112.0, "a timer of before the next rest came late"


def test_C17_two_looks_at_a_pulse_are_never_one_after_a_long_freeze() -> None:
    pulse = Pulse(7, 100.0)
    for now in (3700.0, 3700.0, 3700.1):
        pulse.look(7, now, 30.0)
    assert not pulse.is_stale, "the child must have had the time to beat in between"
    assert pulse.next_look(30.0) == 3710.0


@pytest.fixture
def supervise(home: Path) -> Iterator[Callable[[], Stub]]:
    """A supervisor over children that do nothing, which beat every .1 s and may stand still for .6 s."""
    started: list[Stub] = []

    def begin() -> Stub:
        (home / "liveness").write_text("0.6")
        started.append(Stub(home))
        return started[-1].wait_ready()

    yield begin
    for stub in started:
        for pid in processes_of(home):
            os.kill(pid, signal.SIGCONT)
        if stub.process.poll() is None:
            stub.signal(signal.SIGQUIT)
        stub.process.communicate(timeout=30)


def pause(pids: list[int], seconds: float) -> None:
    """A pause, and afterwards everybody goes on in the order given."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)  # the pause itself is what is tried
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_C17_the_supervisor_stopped_past_its_deadlines(supervise: Callable[[], Stub]) -> None:
    stub = supervise()
    children = stub.wait_pids("coordinator", 1) + stub.wait_pids("worker", 2)
    for _ in range(2):
        pause([stub.process.pid], 1.0)
        assert stub.greets()
    pause([stub.process.pid, *children], 1.5)
    assert stub.greets()
    time.sleep(1.0)  # whatever it might have found stale is dead by then
    assert stub.process.poll() is None, stub.printed()
    assert stub.wait_pids("coordinator", 1) + stub.wait_pids("worker", 2) == children, stub.printed()
    assert "hangs" not in stub.printed()


def test_C17_a_stopped_worker_does_not_hang_and_its_agents_live(supervise: Callable[[], Stub], home: Path) -> None:
    stub = supervise()
    worker = stub.wait_pids("worker", 2)[0]
    os.kill(worker, signal.SIGSTOP)
    time.sleep(2.0)  # three times what it may stand still
    assert is_alive(worker), stub.printed()
    os.kill(worker, signal.SIGCONT)
    stub.signal(signal.SIGTERM)
    assert stub.process.wait(30) == 0
    assert "hangs" not in stub.printed()


def test_C17_a_workers_clocks_stand_still_with_it(start_peer: Callable[..., Peer]) -> None:
    """Its own time-outs, of an agent that is stopped with it and of one that prints on."""
    peer = start_peer(beat=0.2)
    frozen = peer.assign("say one\nsleep 9\nsay two", timeout_seconds=4.0, idle_seconds=3.5, watched=True)
    peer.until_said(frozen)
    printing = peer.assign("tick 70 0.1", sheet=2, timeout_seconds=60.0, idle_seconds=1.0, watched=True)
    peer.until_said(printing)
    silent = peer.assign("sleep 9\nsay late", sheet=3, idle_seconds=3.0, watched=True)
    peer.until("started", silent)
    rule = {"type": "command_succeeds", "command": "sleep 7", "timeout_seconds": 4.0}
    judged = peer.assign("say done", sheet=4, validations=[rule], watched=True)
    peer.until_said(judged)
    wait_until(lambda: any(b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in peer.agents()))
    pause([peer.pid], 7.5)
    reports = {}
    while len(reports) < 4:
        report = peer.until("finished")
        reports[report["attempt"]] = report["verdict"]
        peer.ack(report["attempt"])
    assert set(reports.values()) == {"ok"}, reports
    assert set(reports) == {frozen, printing, silent, judged}


ASKS = """
import sys
from ipc.client import Client
with Client(sys.argv[1], 0.6) as client:
    print("asks", flush=True)
    print(client.request("wait", {"jobs": [sys.argv[2]], "timeout": 0.3}))
"""


def test_C17_a_client_that_was_stopped_reads_what_came_meanwhile(
    shared_daemon: Daemon, score: Callable[..., Path]
) -> None:
    job = shared_daemon.run(score("hang"))
    command = [sys.executable, "-c", ASKS, shared_daemon.socket, job]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        assert client.stdout.readline() == "asks\n"
        pause([client.pid], 1.0)
        assert client.wait(30) == 0, client.stdout.read()
    shared_daemon.request("cancel", job=job)
