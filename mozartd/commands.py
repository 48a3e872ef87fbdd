"""The commands of `mozartd`: start, stop, status, reload, upgrade.

They find the supervisor through its lock and speak to it in signals; only `status` and `stop --drain` ask the
coordinator. With --json one document on stdout, sentences on stderr. Called by `mozartd.main`; never part of the
running daemon.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from ipc import VERSION
from ipc.client import Client, NotListening
from ipc.errors import EXIT_INTERRUPTED, EXIT_PIPE_CLOSED, EXIT_UNREACHABLE, EXIT_USAGE, MozartError
from ipc.line import Line
from ipc.paths import Paths, find_paths
from ipc.shown import sentence
from ipc.states import JOB_ENDED
from ipc.stdout import STDOUT_FD, OutputError, PipeClosed, tell, write, written
from mozartd.answers import Hearing
from mozartd.launch import PATIENCE_SECONDS, Request, run_here, start_in_background
from mozartd.lock import Running, find_supervisor, is_agent_of, kill_and_wait, lock_holders, tidy
from mozartd.needs import check_proc
from mozartd.orphans import find_strays
from mozartd.processes import Process, is_stopped, read_process, send, wait_ended

#: How long `mozartd status` waits for an answer: a coordinator that is being restarted needs a second or two.
ANSWER_SECONDS = 10.0
#: How long `mozartd stop` waits; the supervisor itself kills what takes longer than it was promised.
STOP_SECONDS = 90.0
#: How long `mozartd reload` and `upgrade` wait: the supervisor gives a trial a minute, and the coordinator needs a second.
CHANGE_SECONDS = 90.0
#: How long a supervisor that was told to kill everything gets before it is killed itself.
FORCE_SECONDS = 5.0

#: Set by a shell's completion script, as `mozart completion` prints it.
COMPLETION = "_MOZARTD_COMPLETE"

app = typer.Typer(
    name="mozartd",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def _within(least: float, most: float = math.inf) -> Callable[[Any], Any]:
    """Bounds that help does not show as `[x>=0]`."""

    def checked(given: Any) -> Any:
        if given is not None and not least <= given <= most:
            bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            raise typer.BadParameter(f"must be {bounds}, not {given:g}")
        return given

    return checked


def _show_version(wanted: bool) -> None:
    if wanted:
        _print(f"mozartd {VERSION}")
        raise typer.Exit


@app.callback()
def mozartd(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The Mozart daemon. It runs what `mozart run` submits; `mozart` itself starts it when none runs.

    Exit codes: 0 done, 1 failed, 2 usage or invalid settings, 4 daemon unreachable,
    5 the output could not be written.
    """


@app.command(epilog="Example: mozartd start --workers 4")
def start(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in the foreground and log to stderr.")] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", callback=_within(1, 256), help="Worker processes, 1 to 256.")
    ] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="The settings file to use.")] = None,
    by_client: Annotated[bool, typer.Option("--by-client", hidden=True)] = False,
    as_json: Json = False,
) -> None:
    """Start the daemon and return when it is ready. A daemon that is already running is left alone."""
    paths = _daemon_paths()
    if config is not None:
        paths = replace(paths, config=os.path.abspath(config))
    running = find_supervisor(paths)
    if running is not None and not running.is_stopping and _becomes_ready(paths, running.process):
        pid = running.process.pid
        _answer(as_json, {"pid": pid, "state": "running"}, f"mozartd is already running (pid {pid})")
        return
    request = Request(paths, config is not None, workers, by_client)
    if foreground:
        run_here(replace(request, report=STDOUT_FD if as_json else None, keep_report=True))
    answer = start_in_background(request)
    if answer["state"] != "ready":
        other = read_process(answer["pid"])
        if other is None or not _becomes_ready(paths, other):
            answer = start_in_background(request)
    already = "" if answer["state"] == "ready" else " already"
    _answer(as_json, answer, f"mozartd is{already} running (pid {answer['pid']})")


def _becomes_ready(paths: Paths, other: Process) -> bool:
    """Whether a daemon that somebody else started answers, or will once it has its sockets; False when it ended first."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while os.path.exists(paths.pid_file) and (left := deadline - time.monotonic()) > 0:
        try:
            with Client(paths.client_socket, left):
                return True
        except NotListening:
            if wait_ended([other], 0.05):
                return False
        except MozartError:
            # Of another version, or it hangs: that is for whoever asks it something.
            return True
    return not wait_ended([other], 0)


@app.command(epilog="Example: mozartd stop --drain")
def stop(
    force: Annotated[bool, typer.Option("--force", help="Kill the daemon and everything it runs, at once.")] = False,
    drain: Annotated[
        bool, typer.Option("--drain", help="Start nothing new and let running attempts finish first.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", callback=_within(0), help="Wait at most this long (default 90 s; no limit with --drain)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Stop the daemon and return when all of it is gone. Interrupted sheets run again after the next start."""
    paths = _daemon_paths()
    _refuse_agent(paths, "stop")
    if force and drain:
        raise MozartError("usage", "cannot use --force together with --drain", "choose one", EXIT_USAGE)
    running = find_supervisor(paths)
    if running is not None and not force:
        _require_awake(running, "stop")
    goes_on = _unfinished(paths) if running is not None and not force else ""
    if drain and running is not None:
        _drain(paths)
    elif running is not None:
        send(running.process, signal.SIGQUIT if force else signal.SIGTERM)
    left = [running.process] if running is not None else lock_holders(paths.lock)
    pid = left[0].pid if left else None
    if force:
        _force(paths, left)
    elif not wait_ended(left, timeout if timeout is not None else None if drain else STOP_SECONDS):
        hint = "wait longer with --timeout, or `mozartd stop --force`"
        raise MozartError("E001", f"the daemon (pid {pid}) is still stopping", hint)
    said = f"mozartd has stopped{goes_on}" if pid else "the daemon is not running"
    _answer(as_json, {"pid": pid, "state": "stopped"}, said)


def _unfinished(paths: Paths) -> str:
    """What the next daemon goes on with; nothing of one that does not say at once."""
    with suppress(MozartError), Client(paths.client_socket, 2.0) as client:
        counts = client.request("daemon.status").get("jobs", {})
        unfinished = sum(count for state, count in counts.items() if state not in JOB_ENDED)
        if unfinished:
            jobs = "1 unfinished job continues" if unfinished == 1 else f"{unfinished} unfinished jobs continue"
            return f"; {jobs} at the next start"
    return ""


def _require_awake(running: Running, what: str) -> None:
    """Whoever is stopped hears nothing, and would be waited for in vain."""
    pid = running.process.pid
    if is_stopped(pid):
        hint = f"`kill -CONT {pid}` lets it continue"
        raise MozartError("E401", f"cannot {what} the daemon: its process {pid} is stopped or frozen", hint)


def _drain(paths: Paths) -> None:
    """Ask for it; of one that is stopping already nobody answers, and nothing is left to ask."""
    try:
        with Line(paths.client_socket, ANSWER_SECONDS) as line:
            line.request("daemon.drain")
    except MozartError as error:
        running = find_supervisor(paths)
        if error.exit_code != EXIT_UNREACHABLE or (running is not None and not running.is_stopping):
            raise


def _force(paths: Paths, left: list[Process]) -> None:
    """The supervisor kills everything; if it does not, we kill it and what it leaves."""
    if not wait_ended(left, FORCE_SECONDS):
        kill_and_wait(left)
    kill_and_wait(lock_holders(paths.lock))
    kill_and_wait(find_strays(paths.state, ()))
    if os.path.exists(paths.lock):
        tidy(paths)


@app.command(epilog="Example: mozartd reload")
def reload(as_json: Json = False) -> None:
    """Reload the settings, and say how each changed one was applied. Running agents are not disturbed."""
    running = _running()
    answer = _signal(running, signal.SIGHUP, "reload")
    _answer(as_json, answer, _changes(answer, running.config))


def _changes(answer: dict[str, Any], config: str) -> str:
    has_file = os.path.exists(config)
    done = f"has reloaded {config}" if has_file else f"uses its defaults: {config} does not exist"
    lines = [f"mozartd (pid {answer['pid']}) {done}"]
    lines += [f"{name}: {need}" for name, need in answer["changed"].items()] or ["nothing changed"]
    lines += [
        f"{name}: not applied, {winner} overrides it until the daemon is restarted"
        for name, winner in answer["overruled"].items()
    ]
    lines += answer["warnings"]
    if answer["version"] != VERSION:
        lines.append(f"version {VERSION} is installed and {answer['version']} is running: see `mozartd upgrade`")
    return "\n".join(lines)


@app.command(epilog="Example: mozartd upgrade")
def upgrade(as_json: Json = False) -> None:
    """Replace the running daemon with the installed version: same pid, same sockets, running agents are not disturbed.

    The installed version is tried first; if it or its settings do not work, the daemon continues unchanged.
    """
    running = _running()
    answer = _signal(running, signal.SIGUSR2, "upgrade")
    _answer(
        as_json,
        answer,
        f"mozartd (pid {answer['pid']}) upgraded from {answer['before']} to {answer['version']}\n"
        "old workers exit when their agents finish",
    )


def _refuse_agent(paths: Paths, verb: str) -> None:
    if is_agent_of(paths):
        raise MozartError(
            "agent",
            f"cannot {verb} the daemon for one of its agents",
            "run the command yourself, outside of what agents run",
        )


def _signal(running: Running, number: signal.Signals, kind: str) -> dict[str, Any]:
    """What became of it."""
    _refuse_agent(_daemon_paths(), kind)
    _require_awake(running, kind)
    with Hearing(_daemon_paths(), kind) as hearing:
        send(running.process, number)
        answer = hearing.wait(running.process, CHANGE_SECONDS)
    return {"pid": running.process.pid, "state": "ready", **answer}


@app.command(epilog="Example: mozartd status --json")
def status(
    as_json: Json = False,
    env: Annotated[
        bool,
        typer.Option(
            "--env", help="List the variables that agents get and where each comes from; values are not shown."
        ),
    ] = False,
) -> None:
    """Show the daemon's state."""
    with Line(find_paths().client_socket, ANSWER_SECONDS) as line:
        answer = line.request("daemon.environment" if env else "daemon.status")
    _answer(as_json, answer, _variables(answer) if env else _summary(answer))


def _variables(answer: dict[str, Any]) -> str:
    width = max(len(one["name"]) for one in answer["variables"])
    lines = [f"{one['name']:<{width}}  {one['from']}" for one in answer["variables"]]
    return "\n".join(
        [
            *lines,
            "",
            f"From the submitter come those that the setting submit_env names: {', '.join(answer['submit_env'])}.",
        ]
    )


def _summary(answer: dict[str, Any]) -> str:
    workers = answer.get("workers", [])
    running = sum(worker["running"] for worker in workers)
    jobs = ", ".join(f"{count} {state}" for state, count in answer.get("jobs", {}).items() if count) or "none"
    lines = [f"mozartd {answer['version']} is {answer['state']} (pid {answer['pid']})"]
    if answer.get("reason"):
        lines.append(f"reason: {answer['reason']}")
    lines += [f"workers: {len(workers)}, {running} attempts running", f"jobs: {jobs}", f"socket: {answer['socket']}"]
    if answer["version"] != VERSION:
        lines.insert(1, f"version {VERSION} is installed: run `mozartd upgrade` to switch to it")
    return "\n".join(lines)


def _daemon_paths() -> Paths:
    """MOZART_SOCKET moves the clients' end, never the daemon's."""
    return find_paths({name: value for name, value in os.environ.items() if name != "MOZART_SOCKET"})


def _running() -> Running:
    running = find_supervisor(_daemon_paths())
    if running is None:
        hint = "start it with `mozartd start`"
        message = f"cannot reach the daemon of {_daemon_paths().state}: the daemon is not running"
        raise MozartError("E501", message, hint, EXIT_UNREACHABLE)
    return running


def _answer(as_json: bool, answer: dict[str, Any], words: str) -> None:
    _print(json.dumps(answer) if as_json else words)


def _print(words: str) -> None:
    write(f"{sentence(words)}\n".encode(errors="replace"))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    if COMPLETION in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()  # as in `cli.app`: the scripts are ours to print
    try:
        check_proc()
        return written(lambda: int(app(arguments, prog_name="mozartd", standalone_mode=False) or 0))
    except TyperException as error:
        return _report(_usage(error, arguments), arguments)
    except MozartError as error:
        return _report(error, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except PipeClosed:
        return EXIT_PIPE_CLOSED


def _usage(error: TyperException, arguments: Sequence[str]) -> MozartError:
    said = error.format_message().rstrip(".")
    if not arguments:
        # Not a mistake that needs a sentence: the message is the help.
        return MozartError("usage", said, "", EXIT_USAGE)
    message = f"cannot understand `mozartd {' '.join(arguments)}`: {said[:1].lower()}{said[1:]}"
    return MozartError("usage", message, "see `mozartd --help`", EXIT_USAGE)


def _report(error: MozartError, arguments: Sequence[str]) -> int:
    tell(f"{sentence(f'mozartd: {error}' if arguments else error.message)}\n".encode(errors="replace"))
    if "--json" in arguments and not isinstance(error, OutputError):
        # The sentence has been said.
        with suppress(OutputError, PipeClosed):
            _print(json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}))
    return error.exit_code
