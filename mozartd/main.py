"""The `mozartd` program: its commands for people, and `supervise`, which is the daemon itself.

The only file that knows both what the supervisor is and what its children run. Preloads before the first fork
everything that the children will need, so that it is in memory once and a restarted child starts in milliseconds.
Imports nothing of ours before `entry` has made the import path safe, also for `python -m mozartd.main`.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mozartd.births import Programs
    from mozartd.handover import Handover
    from mozartd.launch import Launch, Request
    from mozartd.settings import Settings

#: Imported before the first fork: what our own modules import when they are first used, then all of our own.
PRELOADED = ("aiosqlite", "jinja2.sandbox", "hyperscan", "orjson", "prometheus_client", "pydantic", "sqlite3", "uvloop")
PRELOADED_PACKAGES = ("ipc", "backends", "workers", "mozartd.coordinator", "mozartd.store")


def main() -> None:
    # Whoever ignores it has his children reaped by the kernel, and passes that on; nobody here would hear how one ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.argv[1:2] == ["supervise"]:
        from mozartd.launch import Request

        request = Request.from_json(sys.argv[2])
        sys.exit(rehearse(request) if request.is_trial else supervise(request))
    from mozartd.commands import run

    sys.exit(run(sys.argv[1:]))


def supervise(request: Request) -> int:
    """Be the daemon, until the last child is gone. Its exit code."""
    from ipc.environment import left_by_git
    from ipc.errors import MozartError
    from mozartd.answers import error_answer
    from mozartd.daemon_log import start_logging
    from mozartd.launch import report

    log = start_logging("supervisor", "info", request.log)
    # An image before this one may have been started by a hook, and have kept what that left.
    for name in left_by_git(os.environ, os.getpid()):
        del os.environ[name]
    try:
        return _supervise(request)
    except MozartError as error:
        log.critical("%s", str(error).replace("\n", "; "))
        refusal = error
    except OSError as error:
        log.critical("cannot go on", exc_info=True)
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        refusal = MozartError("E303", f"cannot start: {what}", f"its log is {request.paths.daemon_log}")
    report(request, error_answer(refusal))
    return refusal.exit_code


def _supervise(request: Request) -> int:
    from mozartd import needs
    from mozartd.births import Births
    from mozartd.held import open_held
    from mozartd.launch import report
    from mozartd.lock import Running, remove_pid_file, take_over, write_pid_file
    from mozartd.supervisor import Supervisor

    paths = request.paths
    if request.handover is not None:
        return _succeed(request, request.handover)
    needs.check()
    settings = _load_settings(request)
    _secure_directories(request)
    lock = take_over(paths)
    if isinstance(lock, Running):
        # Somebody else was faster than us.
        report(request, {"pid": lock.process.pid, "state": "running"})
        return 0
    write_pid_file(paths)
    try:
        preload(settings)
        launch = _launch(request)
        return Supervisor(launch, settings, Births.begin(launch, _programs(), open_held(paths, lock))).run()
    finally:
        remove_pid_file(paths)


def _succeed(request: Request, descriptor: int) -> int:
    """The same process ran another image of the supervisor until now, and what that held is ours."""
    from mozartd.handover import adopt_births, take
    from mozartd.lock import remove_pid_file
    from mozartd.supervisor import Supervisor

    try:
        left = take(descriptor)
        settings = _load_settings(request)
        preload(settings)
        launch = _launch(request)
        return Supervisor(launch, settings, adopt_births(left, launch, _programs()), left).run()
    finally:
        remove_pid_file(request.paths)


def rehearse(request: Request) -> int:
    """Find out whether `supervise` could take over from a daemon that runs, and touch nothing. If not, say why."""
    from ipc.errors import MozartError
    from mozartd.handover import read
    from mozartd.rehearsal import check
    from mozartd.store.store import check_version

    assert request.handover is not None
    try:
        left = read(request.handover)
        check_version(request.paths.database)
        check()
        settings = _load_checked(request)
        preload(settings)
        _rehearse_first_turn(request, left, settings)
    except MozartError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    return 0


def _rehearse_first_turn(request: Request, left: Handover, settings: Settings) -> None:
    """All that the next image does before it acts, over descriptors of our own."""
    from mozartd.births import Births
    from mozartd.held import Held
    from mozartd.liveness import new_liveness_file
    from mozartd.supervisor import Supervisor

    file = new_liveness_file()
    here, there = socket.socketpair()
    children = [child.model_copy(update={"liveness": file}) for child in left.children]
    launch, held = _launch(request), Held(file, file, file, here, there)
    births = Births(launch, _programs(), held, left.boot, left.started_at, left.incarnations)
    Supervisor(launch, settings, births, left.model_copy(update={"children": children})).rehearse()


def _secure_directories(request: Request) -> None:
    from ipc.paths import secure_directory

    for directory in (request.paths.state, request.paths.logs, request.paths.runtime):
        secure_directory(directory)


def _launch(request: Request) -> Launch:
    from mozartd.launch import Launch, report, successor
    from mozartd.settings import doubts, overruled

    winners = {} if request.workers is None else {"workers": f"--workers {request.workers} of the start"}
    return Launch(
        paths=request.paths,
        load_settings=lambda: _load_checked(request),
        overruled=lambda settings: overruled(request.paths.config, settings, winners),
        doubts=doubts,
        command=successor(request),
        log_path=request.log,
        started_by_client=request.started_by_client,
        on_ready=lambda: report(request, {"pid": os.getpid(), "state": "ready"}),
    )


def _programs() -> Programs:
    from mozartd.births import Programs

    return Programs(import_module("mozartd.coordinator.main").run, import_module("workers.main").run)


def _load_settings(request: Request) -> Settings:
    from mozartd.settings import load_settings

    overrides = {} if request.workers is None else {"workers": request.workers}
    return load_settings(request.paths.config, must_exist=request.config_must_exist, overrides=overrides)


def _load_checked(request: Request) -> Settings:
    """For a daemon that runs: refuses also what would keep its next children from booting."""
    settings = _load_settings(request)
    import_module("workers.mask").preload(settings.mask_patterns)
    import_module("mozartd.coordinator.main").read_prices(settings.prices)
    return settings


def preload(settings: Settings) -> None:
    """What every child needs, once for all of them. Raises MozartError E301 for a mask pattern that does not compile."""
    for name in PRELOADED:
        import_module(name)
    for name in PRELOADED_PACKAGES:
        package = import_module(name)
        for found in walk_packages(package.__path__, f"{name}."):
            import_module(found.name)
    # What they would read of the package later may then be another version's, or gone.
    import_module("backends").preload()
    import_module("mozartd.store.statements").load_statements()
    import_module("mozartd.store.statements").load_migrations()
    import_module("mozartd.coordinator.budget").load_prices()
    # Compiled here, 50 ms and 4 MB, or else by every worker at its first attempt.
    import_module("workers.mask").preload(settings.mask_patterns)


if __name__ == "__main__":
    from mozartd.entry import mozartd

    mozartd()
