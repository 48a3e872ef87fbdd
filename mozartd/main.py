"""The `mozartd` program: its commands for people, and `supervise`, which is the daemon itself.

The only file that knows both what the supervisor is and what its children run. Preloads before the first fork
everything that the children will need, so that it is in memory once and a restarted child starts in milliseconds.
Imports nothing of ours before `entry` has made the import path safe, also for `python -m mozartd.main`.
"""

from __future__ import annotations

import functools
import os
import sys
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mozartd.launch import Request
    from mozartd.settings import Settings

#: Imported before the first fork: what our own modules import when they are first used, then all of our own.
PRELOADED = ("aiosqlite", "jinja2.sandbox", "hyperscan", "orjson", "prometheus_client", "pydantic", "sqlite3", "uvloop")
PRELOADED_PACKAGES = ("ipc", "backends", "workers", "mozartd.coordinator", "mozartd.store")


def main() -> None:
    if sys.argv[1:2] == ["supervise"]:
        from mozartd.launch import Request

        sys.exit(supervise(Request.from_json(sys.argv[2])))
    from mozartd.commands import run

    sys.exit(run(sys.argv[1:]))


def supervise(request: Request) -> int:
    """Be the daemon, until the last child is gone. Its exit code."""
    from ipc.errors import MozartError
    from mozartd.daemon_log import start_logging
    from mozartd.launch import report

    log = start_logging("supervisor", "info", request.log)
    try:
        return _supervise(request)
    except MozartError as error:
        log.critical("%s", str(error).replace("\n", "; "))
        refusal = error
    except OSError as error:
        log.critical("cannot go on", exc_info=True)
        refusal = MozartError("E303", f"cannot start: {error}", f"its log is {request.paths.daemon_log}")
    fields = {"code": refusal.code, "message": refusal.message, "hint": refusal.hint, "exit_code": refusal.exit_code}
    report(request, {"error": fields})
    return refusal.exit_code


def _supervise(request: Request) -> int:
    from ipc.paths import secure_directory
    from mozartd.launch import report
    from mozartd.lock import Running, remove_pid_file, take_over, write_pid_file
    from mozartd.supervisor import Launch, Programs, Supervisor

    paths = request.paths
    load = functools.partial(_load_settings, request)
    settings = load()
    for directory in (paths.state, paths.logs, paths.runtime):
        secure_directory(directory)
    lock = take_over(paths)
    if isinstance(lock, Running):
        # Somebody else was faster than us.
        report(request, {"pid": lock.process.pid, "state": "running"})
        return 0
    write_pid_file(paths)
    try:
        preload(settings)
        programs = Programs(import_module("mozartd.coordinator.main").run, import_module("workers.main").run)
        ready = functools.partial(report, request, {"pid": os.getpid(), "state": "ready"})
        launch = Launch(paths, load, request.log, request.started_by_client, ready)
        return Supervisor(launch, settings, programs).run()
    finally:
        remove_pid_file(paths)


def _load_settings(request: Request) -> Settings:
    from mozartd.settings import load_settings

    overrides = {} if request.workers is None else {"workers": request.workers}
    return load_settings(request.paths.config, must_exist=request.config_must_exist, overrides=overrides)


def preload(settings: Settings) -> None:
    """What every child needs, once for all of them. Raises MozartError E301 for a mask pattern that does not compile."""
    for name in PRELOADED:
        import_module(name)
    for name in PRELOADED_PACKAGES:
        package = import_module(name)
        for found in walk_packages(package.__path__, f"{name}."):
            import_module(found.name)
    # Compiled here, 50 ms and 4 MB, or else by every worker at its first attempt.
    import_module("workers.mask").preload(settings.mask_patterns)


if __name__ == "__main__":
    from mozartd.entry import mozartd

    mozartd()
