"""Those who ask: one session per connection on the client socket.

Speaks JSON-RPC 2.0: checks the hello and the peer, hands each request to its handler in `requests/`, answers with its result
or error. A session's tasks end with its connection. What a request means is the handler's; a bad frame costs its sender the
connection and nobody anything else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from ipc.bounds import PeerBounds
from ipc.connection import Connection, hello_problem
from ipc.errors import (
    RPC_INTERNAL,
    RPC_INVALID_PARAMS,
    RPC_INVALID_REQUEST,
    RPC_UNKNOWN_METHOD,
    MozartError,
)
from ipc.frames import Frame, FrameError
from mozartd.coordinator.agents import Agents, boot_time, changes, name_of
from mozartd.coordinator.crowd import Begin, Crowd, Done, Share
from mozartd.coordinator.params import InvalidParamsError, Params

log = logging.getLogger(__name__)

#: Requests of one connection under way at once, until the peer has taken their answers; above it we stop reading from it.
MAX_REQUESTS = 8
#: Requests that take as long as a job may: they are counted apart, so that they keep no other from being answered.
LASTING = frozenset({"wait"})
MAX_LASTING = 64

Handler = Callable[["Session", Params], Awaitable[Any]]


class Session:
    """One client."""

    def __init__(
        self,
        handlers: dict[str, Handler],
        allowed_uids: frozenset[int] | None,
        gone: Callable[[Session], None],
        greeting: Frame,
        crowd: Crowd,
        bounds: PeerBounds,
        agents: Agents,
    ) -> None:
        self.connection = Connection(self._frame, self._lost, self._made, bounds, self._spent)
        self._handlers = handlers
        self._allowed_uids = allowed_uids
        self._gone = gone
        self._greeting = greeting
        self._greeted = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._agents = agents
        self._made_at = 0.0
        self._hello: Frame = {}
        self._agent: str | None = None
        """The attempt that asks; None for a person, and until somebody asked."""
        self._is_known = False
        self._crowd = crowd
        self._share: Share | None = None
        """Of the process on the other side, once it is connected."""
        self._queued: deque[Frame] = deque()
        self._asked: Begin | None = None
        """The request that waits for its turn."""
        self._under_way = 0
        self._lasting = 0
        self._resting: asyncio.TimerHandle | None = None
        self._subscriptions = 0
        self._has_all = False
        """Nothing more is taken from it."""
        self._is_behind = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<Session {len(self._tasks)} tasks, {self.connection!r}>"

    @property
    def who(self) -> str:
        """The user or agent who asks, for the log of what happened."""
        if self._agent is not None:
            return name_of(self._agent)
        uid = self.connection.peer.uid
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return f"uid {uid}"

    def next_subscription(self) -> int:
        self._subscriptions += 1
        return self._subscriptions

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a side task that ends with this connection; its failure is logged, told, and ends the connection."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, MozartError):
            log.error("%s failed: %s", task.get_name(), error.message)
        else:
            log.error("%s failed", task.get_name(), exc_info=error)
            error = MozartError("E999", f"cannot go on: {error}", "the daemon's log says more")
        # Told, or who asked would take it for a coordinator that died, and ask its successor, for ever.
        self.connection.send({"jsonrpc": "2.0", "id": None, "error": error.as_rpc()})
        self.connection.close()

    def _made(self, connection: Connection) -> None:
        self._made_at = boot_time()
        self._share = self._crowd.share(connection.peer.pid)
        self._share.enter(self)

    def _lost(self, connection: Connection) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        if self._resting is not None:
            self._resting.cancel()
        if self._share is not None:
            self._share.leave(self)
            if connection.was_refused:
                self._share.refused()
            if self._asked is not None:
                self._share.forget(self._asked)
        self._queued.clear()
        self._gone(self)
        self.over.set_result(None)

    def finish(self) -> asyncio.Future[None]:
        """Answer what was asked until now, take nothing more, and hang up. Done when that is so."""
        # Who has not even read what he got before must not keep everybody waiting.
        self._is_behind = self.connection.unsent > 0 and not self._under_way
        self.connection.end_reading(self._took_all)
        return self.over

    def _took_all(self) -> None:
        self._has_all = True
        self._begin_next()

    def _end_if_done(self) -> None:
        """Requests that last as long as a job may are asked again by who asked."""
        if self._has_all and not (self._queued or self._asked or self._under_way):
            if self._is_behind:
                self.connection.abort()
            else:
                self.connection.close()

    # -- frames

    def _frame(self, connection: Connection, frame: Frame) -> None:
        if not self._greeted:
            self._greet(frame)
        else:
            self._queued.append(frame)
            self._begin_next()

    def _begin_next(self) -> None:
        """One after the other asks for its turn; what was read beyond that waits, and nothing more is read meanwhile."""
        while self._queued and self._asked is None and self._may_begin(self._queued[0]) and not self.connection.lost:
            assert self._share is not None
            frame = self._queued.popleft()
            if _name(frame) in LASTING:
                self._begin_lasting(frame)
            else:
                self._asked = partial(self._begin, frame)
                self._share.ask(self._asked)
        if self._queued or self._asked is not None or self._resting is not None:
            self.connection.pause_reading()
        else:
            self.connection.resume_reading()
        self._end_if_done()

    def _may_begin(self, frame: Frame) -> bool:
        return self._lasting < MAX_LASTING if _name(frame) in LASTING else self._under_way < MAX_REQUESTS

    def _begin(self, frame: Frame, done: Done) -> None:
        self._asked = None
        self._under_way += 1
        task = self.spawn(self._answer(frame, done), f"request {_name(frame)}")
        task.add_done_callback(partial(self._answered, done))

    def _begin_lasting(self, frame: Frame) -> None:
        self._lasting += 1
        self.spawn(self._answer(frame, lambda: None), f"request {_name(frame)}").add_done_callback(self._lasted)

    def _answered(self, done: Done, _: asyncio.Task[None]) -> None:
        # A task that was cancelled before its first step has not said so.
        done()
        self._under_way -= 1
        self._begin_next()

    def _lasted(self, _: asyncio.Task[None]) -> None:
        self._lasting -= 1
        self._begin_next()

    # -- reading that took too long

    def _spent(self, seconds: float) -> None:
        if self._share is not None:
            self._share.read(self, seconds)

    def rest(self, seconds: float) -> None:
        """Read nothing for so long: the process on the other side has had its due."""
        if self._resting is None and not self.connection.lost:
            self._resting = asyncio.get_running_loop().call_later(seconds, self._rested)
            self.connection.pause_reading()

    def _rested(self) -> None:
        self._resting = None
        self._begin_next()

    # -- answering

    def _greet(self, frame: Frame) -> None:
        problem = hello_problem(frame, "client")
        uid = self.connection.peer.uid
        if self._allowed_uids is not None and uid not in self._allowed_uids:
            problem = f"cannot talk to uid {uid}: this daemon belongs to uid {os.geteuid()}"
        if problem:
            self.connection.refuse(problem)
            return
        self._greeted, self._hello = True, frame
        self.connection.send(self._greeting)

    async def _answer(self, frame: Frame, done: Done) -> None:
        try:
            await self._try(frame)
        finally:
            done()
        # Who does not read its answers gets no more of them.
        await self.connection.drained()

    async def _try(self, frame: Frame) -> None:
        call, method = frame.get("id"), frame.get("method")
        if frame.get("jsonrpc") != "2.0" or not isinstance(method, str) or "id" not in frame:
            self._answer_error(call, RPC_INVALID_REQUEST, "cannot take a frame that is no JSON-RPC 2.0 request")
            return
        handler = self._handlers.get(method)
        if handler is None:
            self._answer_error(call, RPC_UNKNOWN_METHOD, f"cannot do {method!r}: there is no such method")
            return
        try:
            if changes(frame):
                self._refuse_agent(frame)
            result = await handler(self, Params(frame.get("params") or {}))
            self.connection.send({"jsonrpc": "2.0", "id": call, "result": result})
        except InvalidParamsError as error:
            self._answer_error(call, RPC_INVALID_PARAMS, str(error))
        except MozartError as error:
            self.connection.send({"jsonrpc": "2.0", "id": call, "error": error.as_rpc()})
        except MemoryError:
            hint = "give the machine more memory, or ask for less at once"
            short = MozartError("E009", f"cannot answer {method}: the daemon has no memory left", hint)
            self.connection.send({"jsonrpc": "2.0", "id": call, "error": short.as_rpc()})
        except (FrameError, sqlite3.Error, OSError) as error:
            log.exception("request %s failed", method)
            self._answer_error(call, RPC_INTERNAL, f"cannot answer {method}: {error}")

    def _refuse_agent(self, frame: Frame) -> None:
        """Raises MozartError when an agent asks. Who asks is looked up once: it costs a look at each process above it."""
        if not self._is_known:
            self._agent = self._agents.behind(self.connection.peer, self._made_at, self._hello)
            self._is_known = True
        if self._agent is not None:
            self._agents.refuse(self._agent, frame)

    def _answer_error(self, call: Any, code: int, message: str) -> None:
        self.connection.send({"jsonrpc": "2.0", "id": call, "error": {"code": code, "message": message}})


def _name(frame: Frame) -> str:
    return str(frame.get("method"))[:40]
