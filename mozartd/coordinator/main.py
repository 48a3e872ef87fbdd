"""The coordinator process, from fork to exit code.

Puts the parts together, listens on the two sockets that the supervisor bound, and runs until it is told to stop (SIGTERM),
the supervisor dies (lifeline), it has drained, or it was without work for too long. Owns nothing but this composition.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

import uvloop
import yaml
from orjson import JSONDecodeError

from ipc import blame, forkserver, marks
from ipc.bounds import PeerBounds
from ipc.connection import hello
from ipc.errors import CODES, EXIT_FAILED, EXIT_USAGE, MozartError
from ipc.paths import Paths
from ipc.setup import (
    EXIT_CANNOT_BOOT,
    EXIT_OK,
    EXIT_ORPHANED,
    EXIT_STOP_ALL,
    NOTE_SIGNAL,
    CoordinatorSetup,
    Inherited,
    read_note,
    write_note,
)
from ipc.states import JOB_ENDED
from mozartd.coordinator import history, metrics, recovery, requests
from mozartd.coordinator.admission import Admission, Bounds
from mozartd.coordinator.agents import Agents, name_of
from mozartd.coordinator.assign import Assigner, Scores
from mozartd.coordinator.budget import Price, cost_of, load_prices
from mozartd.coordinator.caps import Caps
from mozartd.coordinator.clients import Session
from mozartd.coordinator.crew import Crew
from mozartd.coordinator.crowd import Crowd
from mozartd.coordinator.door import Door
from mozartd.coordinator.endings import Endings
from mozartd.coordinator.followers import Followers
from mozartd.coordinator.graves import nobody_left, strays_of
from mozartd.coordinator.keeper import Keeper
from mozartd.coordinator.model import Attempt, Job
from mozartd.coordinator.once import Once
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.registry import Registry
from mozartd.coordinator.retention import Bounds as LogBounds
from mozartd.coordinator.scopes import private_scopes
from mozartd.coordinator.settle import release_successors
from mozartd.coordinator.single import Single
from mozartd.coordinator.skips import why_skip
from mozartd.coordinator.troubles import Troubles, damage
from mozartd.coordinator.turn import Turn
from mozartd.coordinator.wallclock import WallClock
from mozartd.settings import BackendSettings, Settings
from mozartd.store.store import Store

log = logging.getLogger(__name__)

#: After how many things, and how many such rounds, Python looks for cycles among the youngest and the young: of the usual
#: 700 and 10 the second alone would keep the loop for two milliseconds.
COLLECTING = 700, 3, 30
#: Seconds in which the last answers are given when this coordinator ends, and taken.
FINISH_SECONDS = 1.0
#: Seconds that workers have to report when the supervisor has died, before we close the store.
ORPHAN_SECONDS = 5.0
#: Seconds from an attempt's end until somebody looks whether the logs are too many now.
KEEP_SECONDS = 60.0


def run(setup: CoordinatorSetup) -> int:
    """Called by the supervisor in the forked child. Returns the exit code."""
    forkserver.start()
    blame.begin(setup.inherited.slots, blame.COORDINATOR)
    try:
        return uvloop.run(_run(setup))
    except MozartError as error:
        log.error("%s", str(error).replace("\n", "; "))
        write_note(setup.inherited.liveness, error.message)
        # A disk that is full may have room later: then the supervisor goes on trying.
        _, may_pass = CODES.get(error.code, ("", False))
        return EXIT_FAILED if may_pass else EXIT_CANNOT_BOOT


async def _run(setup: CoordinatorSetup) -> int:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()
    store = await Store.open(setup.paths.database)
    opened = ExitStack()
    try:
        parts = await _compose(setup, store, _once(stop))
        opened.callback(parts.keeper.close)
        loop.add_signal_handler(signal.SIGTERM, _once(stop), EXIT_OK)
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        loop.add_reader(setup.inherited.lifeline, _orphaned, setup.inherited.lifeline, parts, _once(stop))
        _beat(loop, setup.inherited)
        if setup.started_by_client:
            _watch_idle(parts, _once(stop))
        sessions: set[Session] = set()
        open_ = [WallClock(partial(_clock_was_set, parts)), *await _listen(setup, parts, sessions)]
        if "MOZART_DEBUG_LAG" in os.environ:
            from ipc import lag  # For benches only.

            lag.begin("coordinator", loop)
        code = await stop
        for each in open_:
            each.close()
        await asyncio.gather(*(each.entered() for each in open_ if isinstance(each, Door)))
        await _finish(sessions)
        await parts.turn.shown()
        return code
    finally:
        opened.close()
        await store.close()


async def _finish(sessions: set[Session]) -> None:
    """What was asked is answered; whatever is sent from now on fails at the sender, who asks our successor."""
    finishing = [session.finish() for session in tuple(sessions)]
    if finishing:
        await asyncio.wait(finishing, timeout=FINISH_SECONDS)
    for session in tuple(sessions):
        session.connection.abort()


def _once(stop: asyncio.Future[int]) -> Callable[[int], None]:
    """The first reason to stop counts."""
    return lambda code: None if stop.done() else stop.set_result(code)


async def _compose(setup: CoordinatorSetup, store: Store, stop: Callable[[int], None]) -> Parts:
    gc.set_threshold(*COLLECTING)
    try:
        deaths = blame.read_deaths(setup.deaths)
        book, limits, journal = await recovery.load(store, setup.settings, setup.paths.logs, deaths)
    except JSONDecodeError as error:
        raise damage(setup.paths.database, error) from None
    crew = Crew(book, limits, setup.supervisor_pid, setup.inherited.slots)
    groups = {row["name"]: row["parallel"] for row in await store.read("all_groups")}
    settings = setup.settings
    caps = partial(
        Caps,
        book,
        limits,
        _backend_caps(settings.backends),
        groups,
        settings.max_concurrent_jobs,
        workspace_lock=settings.workspace_lock,
    )
    admission = Admission(Bounds(**settings.admission.model_dump()))
    turn = Turn(store, book, limits, crew, settings.max_concurrent_sheets, caps, why_skip, admission)
    prices = read_prices(settings.prices)
    crew.price = lambda job, report: cost_of(report, job.policy, prices)  # type: ignore[arg-type]
    followers = Followers(crew.watch)
    scores = Scores(store)
    endings = Endings()
    keeper = Keeper(setup.paths, _log_bounds(settings), book.running.keys)
    parts = Parts(
        setup, setup.settings, store, journal, book, limits, crew, turn, scores, followers, groups, Registry(book, store),
        endings, keeper, Once(store, turn), _troubles(setup), marks.identity(setup.paths.state),
        None, lambda: _drain(parts, stop),
    )  # fmt: skip
    turn.assign = Assigner(book, crew, scores, followers, store, setup.paths, settings.log_segment_bytes).assign
    pruning = Single(partial(history.prune, parts), "prune")
    turn.on_settled = partial(_settled, parts, pruning)
    followers.frames.on_lost = partial(parts.troubles.see, "logs")
    store.on_damage = partial(parts.troubles.set, "database")
    crew.due, crew.after_commit = turn.due, turn.after_commit
    turn.on_degraded, crew.on_report = partial(parts.troubles.set, "disk"), parts.troubles.learn
    crew.on_grew, crew.is_watched = followers.grew, followers.is_watched
    crew.on_segment = lambda attempt: keeper.due(attempt.job)
    crew.on_over = partial(_over, followers, keeper)
    crew.look = strays_of(
        setup.paths.state, setup.supervisor_pid, settings.keep, lambda: [worker.pid for worker in crew.workers.values()]
    )
    for name, pid in setup.workers.items():
        crew.expect(name, pid)
    # Nothing of an earlier life is repeated while it runs.
    if any(attempt.worker not in setup.workers for attempt in book.running.values()):
        await nobody_left(crew.look)
    limits.leave(lambda id: id not in book.jobs, time.time())
    recovery.repair(
        book, limits, setup.workers, time.time(), partial(_last_seen, setup.paths, _age_of(setup.paths.database))
    )
    journal.append(time.time(), "daemon.started", pid=os.getpid(), restarts=setup.restarts)
    await turn.shown()
    keeper.due()
    # The settings may ask for less than those before.
    pruning.due()
    return parts


def _last_seen(paths: Paths, written: float, attempt: Attempt) -> float:
    """When the daemon last wrote anything of it, or at all."""
    return max(written, _age_of(paths.attempt_log(attempt.job, attempt.n, attempt.k)))


def _age_of(path: str) -> float:
    """When it was written last; 0 when it is not there."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _troubles(setup: CoordinatorSetup) -> Troubles:
    """They come from here and from the supervisor, and each tells the other on a page that both have."""

    def tell(reason: str) -> None:
        write_note(setup.inherited.liveness, reason)
        if os.getppid() == setup.supervisor_pid:
            os.kill(setup.supervisor_pid, NOTE_SIGNAL)

    return Troubles(tell, lambda: read_note(setup.notes))


def _log_bounds(settings: Settings) -> LogBounds:
    hours = settings.log_compress_hours
    return LogBounds(settings.log_attempt_bytes, settings.log_total_bytes, None if hours is None else hours * 3600)


def read_prices(path: str | None) -> dict[str, Price]:
    """Raises MozartError E301 when the file cannot be used."""
    try:
        if path is None:
            return load_prices()
        with open(path) as file:
            return load_prices(file.read())
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        message = f"cannot read the prices in {path}: {why}" if path else f"cannot read Mozart's own prices: {why}"
        raise MozartError("E301", message, "see mozartd/prices.yaml", EXIT_USAGE) from None


def _backend_caps(backends: Mapping[str, BackendSettings]) -> dict[str, int]:
    return {name: one.max_concurrent for name, one in backends.items() if one.max_concurrent is not None}


def _over(followers: Followers, keeper: Keeper, attempt: Attempt) -> None:
    followers.ended(attempt)
    keeper.due(attempt.job, time.time() + KEEP_SECONDS)


def _settled(parts: Parts, pruning: Single, job: Job) -> None:
    """A job ended or paused, and that is on disk."""
    if job.state in JOB_ENDED:
        parts.scores.forget(job.seq)
    parts.endings.tell(job)
    release_successors(parts.book, job, time.time())
    parts.limits.leave(lambda id: id == job.id and job.state in JOB_ENDED, time.time())
    if job.state in JOB_ENDED:
        for scope in private_scopes(job):
            parts.limits.forget(scope)
    parts.turn.due()
    parts.followers.job_changed(job)
    pruning.due()


# -- sockets


async def _listen(setup: CoordinatorSetup, parts: Parts, sessions: set[Session]) -> list[Door | asyncio.Server]:
    crowd, bounds = Crowd(), PeerBounds()
    handlers = requests.bind(parts)
    allowed = None if setup.settings.socket_mode == 0o660 else frozenset({0, os.geteuid()})

    # With the names of what agents may get of the submitter's environment: the client sends no others.
    greeting = hello("coordinator", submit_env=setup.settings.submit_env, compares_environment=True)

    agents = _agents(setup, parts)

    def session() -> asyncio.Protocol:
        session = Session(handlers, allowed, sessions.discard, greeting, crowd, bounds, agents)
        sessions.add(session)
        return session.connection

    def worker() -> asyncio.Protocol:
        return parts.crew.connect(bounds)

    trouble = partial(parts.troubles.see_or_end, "connections")
    found: list[Door | asyncio.Server] = []
    # The doors last: who is greeted may believe that everything else is there.
    if setup.settings.metrics_address:
        found.append(await _serve_metrics(parts, setup.settings.metrics_address))
    found.append(Door(setup.worker_listener, worker, crowd, trouble))
    found.append(Door(setup.client_listener, session, crowd, trouble))
    return found


def _agents(setup: CoordinatorSetup, parts: Parts) -> Agents:
    def tell(attempt: str, method: str, job: str) -> None:
        running = parts.book.running.get(attempt)
        where = (running.job, running.n, running.k) if running else (None, None, None)
        parts.journal.append(time.time(), "asked.refused", *where, by=name_of(attempt), request=method, of=job)
        parts.turn.due()

    return Agents(
        setup.paths.state,
        lambda: {worker.pid: worker.name for worker in parts.crew.workers.values()},
        parts.book.running.values,
        tell,
    )


async def _serve_metrics(parts: Parts, address: str) -> asyncio.Server:
    try:
        server, parts.metrics_url = await metrics.serve(metrics.Metrics(parts), address)
    except (OSError, ValueError) as error:
        raise MozartError("E301", f"cannot serve metrics at {address}: {error}", "change metrics_address") from None
    return server


# -- life and death


def _clock_was_set(parts: Parts, seconds: float) -> None:
    """What was to happen at a time of day does; what was to happen after a while still does."""
    if seconds:
        parts.book.move_waits(seconds, time.time(), parts.limits.is_measured)
        parts.limits.move(seconds)
    parts.turn.due()


def _beat(loop: asyncio.AbstractEventLoop, inherited: Inherited) -> None:
    """Show the supervisor that this loop turns."""
    os.utime(inherited.liveness)
    loop.call_later(inherited.beat_seconds, _beat, loop, inherited)


def _orphaned(lifeline: int, parts: Parts, stop: Callable[[int], None]) -> None:
    """The supervisor died: workers stop their agents and report; then we go too."""
    loop = asyncio.get_running_loop()
    loop.remove_reader(lifeline)
    parts.turn.draining = True
    parts.crew.on_empty = lambda: stop(EXIT_ORPHANED)
    if parts.crew.workers:
        loop.call_later(ORPHAN_SECONDS, stop, EXIT_ORPHANED)
    else:
        stop(EXIT_ORPHANED)


def _drain(parts: Parts, stop: Callable[[int], None]) -> None:
    parts.turn.draining = True
    parts.turn.on_idle = lambda: stop(EXIT_STOP_ALL)
    parts.turn.due()


def _watch_idle(parts: Parts, stop: Callable[[int], None]) -> None:
    """A daemon that `mozart run` started ends itself when it was without work for long enough. One timer, seldom due."""
    seconds = parts.settings.idle_exit_seconds
    busy = any(not job.is_settled for job in parts.book.jobs.values())
    quiet = 0.0 if busy else time.monotonic() - parts.turn.changed_at
    if quiet >= seconds:
        log.info("no work for %g s: stopping", quiet)
        stop(EXIT_STOP_ALL)
        return
    asyncio.get_running_loop().call_later(seconds - quiet, _watch_idle, parts, stop)
