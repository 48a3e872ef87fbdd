"""A supervisor with the smallest children there can be, for tests of the supervisor alone.

`python stub_daemon.py HOME [HANDOVER [trial]]`: the coordinator says hello to whoever connects, the workers wait; both
beat, obey their lifeline, SIGTERM and SIGUSR1. What else a child does at its start is read from `HOME/<role>.does`,
so that a test can change it while they run: `cannot-boot`, `crash`, `hang`, `stop-all`, or a shell command that it
leaves running as an agent.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ipc.connection import hello
from ipc.frames import encode_frame
from ipc.paths import find_paths, secure_directory
from ipc.setup import EXIT_CANNOT_BOOT, EXIT_ORPHANED, EXIT_STOP_ALL, CoordinatorSetup, Inherited, WorkerSetup
from mozartd.births import Births, Programs
from mozartd.daemon_log import start_logging
from mozartd.handover import adopt_births, read, take
from mozartd.held import open_held
from mozartd.launch import Launch
from mozartd.lock import remove_pid_file, take_over, write_pid_file
from mozartd.settings import Settings, load_settings
from mozartd.supervisor import Supervisor

HOME = Path(sys.argv[1])


def begin(role: str) -> int | None:
    """Do what the test wants of this role; an exit code ends the child."""
    told = HOME / f"{role}.does"
    what = told.read_text() if told.exists() else ""
    if what == "crash":
        raise RuntimeError("told to crash")
    if what == "hang":
        signal.pause()
    if what not in ("", "cannot-boot", "stop-all"):
        mark = {"MOZART_STATE": str(HOME / "state"), "MOZART_ATTEMPT_ID": "job:1:1"}
        subprocess.Popen(["sh", "-c", what], env={**os.environ, **mark}, start_new_session=True)
    return {"cannot-boot": EXIT_CANNOT_BOOT, "stop-all": EXIT_STOP_ALL}.get(what)


def live(inherited: Inherited, role: str, listener: int | None = None) -> int:
    """Beat and wait; greet clients when there is a listener."""
    code = begin(role)
    if code is not None:
        return code
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    watched = [inherited.lifeline, read, *([] if listener is None else [listener])]
    while True:
        os.utime(inherited.liveness)
        ready, _, _ = select.select(watched, [], [], inherited.beat_seconds)
        if inherited.lifeline in ready:
            return EXIT_ORPHANED
        if read in ready:
            logging.info("told to stop by %s", signal.Signals(os.read(read, 1)[0]).name)
            return 0
        if listener in ready:
            greet(listener)


def greet(listener: int) -> None:
    with socket.socket(fileno=os.dup(listener)) as server:
        peer, _ = server.accept()
        with peer:
            peer.sendall(encode_frame(hello("coordinator")))


def run_coordinator(setup: CoordinatorSetup) -> int:
    return live(setup.inherited, "coordinator", setup.client_listener.fileno())


def run_worker(setup: WorkerSetup) -> int:
    return live(setup.inherited, "worker")


def load() -> Settings:
    """The file's, but that liveness may be shorter than anybody should want it."""
    settings = load_settings(str(HOME / "config.yaml"))
    patience = HOME / "liveness"
    return settings.model_copy(update={"liveness_seconds": float(patience.read_text())} if patience.exists() else {})


def command(handover: int, is_trial: bool) -> list[str]:
    """A trial fails with what the test wrote into `HOME/trial.does`. `HOME/interpreter`: for the trial, and for the rest."""
    told = HOME / "interpreter"
    interpreters = told.read_text().split() if told.exists() else [sys.executable]
    interpreter = interpreters[0] if is_trial else interpreters[-1]
    return [interpreter, __file__, str(HOME), str(handover), *(["trial"] if is_trial else [])]


def main() -> int:
    start_logging("supervisor", "debug", None)
    paths = find_paths({"MOZART_HOME": str(HOME)})
    inherited = int(sys.argv[2]) if sys.argv[2:] else None
    if "trial" in sys.argv:
        assert inherited is not None
        read(inherited)
        told = HOME / "trial.does"
        sys.exit(told.read_text() or 0 if told.exists() else 0)
    launch = Launch(paths, load, command, on_ready=lambda: print("ready", flush=True))
    programs = Programs(run_coordinator, run_worker)
    try:
        if inherited is not None:
            left = take(inherited)
            return Supervisor(launch, load(), adopt_births(left, launch, programs), left).run()
        for directory in (paths.state, paths.logs, paths.runtime):
            secure_directory(directory)
        lock = take_over(paths, leftover_seconds=0.5)
        assert isinstance(lock, int)
        write_pid_file(paths)
        return Supervisor(launch, load(), Births.begin(launch, programs, open_held(paths, lock))).run()
    finally:
        remove_pid_file(paths)


if __name__ == "__main__":
    sys.exit(main())
